package preset

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"qstack/qnet/toml"
)

// Kind is what a parameter is written as.
type Kind int

// The kinds of parameters.
const (
	Number Kind = iota
	Count
	Truth
	Choice
	Time
	Length
	Frequency
	Speed
	Loss
	Attenuation
	Angle
	Wavelength
)

// dimension returns the units of a kind, nil for one without.
func (k Kind) dimension() *toml.Dimension {
	switch k {
	case Time:
		return &toml.Times
	case Length:
		return &toml.Lengths
	case Frequency:
		return &toml.Frequencies
	case Speed:
		return &toml.Speeds
	case Loss:
		return &toml.Losses
	case Attenuation:
		return &toml.Attenuations
	case Angle:
		return &toml.Angles
	case Wavelength:
		return &toml.Wavelengths
	}
	return nil
}

// Param is a parameter of a model or a device.
type Param struct {
	Name     string
	Kind     Kind
	Min, Max float64 // in base units
	Above    bool    // the value must be above Min
	Default  float64 // NaN for none
	Required bool
	Choices  []string // of a Choice; the first is the default
	Meaning  string
}

// Unit returns the unit of the parameter's values, empty when they have none.
func (p *Param) Unit() string {
	if d := p.Kind.dimension(); d != nil {
		return d.Base()
	}
	return ""
}

// Range says which values are allowed.
func (p *Param) Range() string {
	switch p.Kind {
	case Truth:
		return "true or false"
	case Choice:
		quoted := make([]string, len(p.Choices))
		for i, c := range p.Choices {
			quoted[i] = strconv.Quote(c)
		}
		return strings.Join(quoted, " or ")
	}
	unit := p.Unit()
	if unit != "" {
		unit = " " + unit
	}
	from := "from"
	if p.Kind == Count {
		from = "a whole number from"
	}
	if p.Above {
		from = "above"
	}
	switch {
	case math.IsInf(p.Max, 1) && p.Above:
		return fmt.Sprintf("above %g%s", p.Min, unit)
	case math.IsInf(p.Max, 1):
		return fmt.Sprintf("at least %g%s", p.Min, unit)
	}
	return fmt.Sprintf("%s %g to %g%s", from, p.Min, p.Max, unit)
}

// check returns what is wrong with a number, "" when nothing is.
func (p *Param) check(v float64) string {
	if !(v >= p.Min && v <= p.Max) || p.Above && v == p.Min || math.IsInf(v, 0) || p.Kind == Count && v != math.Trunc(v) {
		return "want " + p.Range()
	}
	return ""
}

// read returns the value of a TOML value, or what is wrong with it.
func (p *Param) read(raw any) (v Value, problem string) {
	v.Param = p
	d := p.Kind.dimension()
	switch x := raw.(type) {
	case string:
		switch {
		case p.Kind == Choice:
			v.Text = x
			if !slices.Contains(p.Choices, x) {
				return v, "want " + p.Range()
			}
			return v, ""
		case d == nil:
			return v, "want " + p.Range() + ", without quotes"
		}
		if v.Number, problem = d.Parse(x); problem != "" {
			return v, problem
		}
	case bool:
		if p.Kind != Truth {
			return v, "want " + p.Range() + ", not a truth value"
		}
		if x {
			v.Number = 1
		}
		return v, ""
	case int64:
		v.Number = float64(x)
	case float64:
		v.Number = x
	default:
		return v, "want " + p.Range() + ", not " + toml.Kind(raw)
	}
	if _, quoted := raw.(string); !quoted {
		switch {
		case p.Kind == Truth, p.Kind == Choice:
			return v, "want " + p.Range()
		case d != nil:
			return v, "want " + d.Name + " in quotes, with its unit, as in " + strconv.Quote(d.Example)
		}
	}
	return v, p.check(v.Number)
}

// parseText reads a value as a person types it.
func (p *Param) parseText(text string) (Value, string) {
	text = strings.TrimSpace(text)
	switch {
	case p.Kind == Truth:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return Value{}, "want true or false"
		}
		return p.read(b)
	case text == "0" && p.Kind.dimension() != nil: // the same in any unit
		return p.read("0 " + p.Unit())
	case p.Kind == Choice || p.Kind.dimension() != nil:
		return p.read(text)
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Value{}, "want a number " + p.Range()
	}
	return p.read(x)
}

// Values are parameters as given, sorted by name.
type Values []Value

// get returns the value of a parameter, nil when it was not given.
func (vs Values) get(name string) *Value {
	i, ok := slices.BinarySearchFunc(vs, name, func(v Value, name string) int { return strings.Compare(v.Param.Name, name) })
	if !ok {
		return nil
	}
	return &vs[i]
}

// with returns a copy with another value, in place of all that it replaces.
func (vs Values) with(v Value) Values {
	c := vs.without(func(name string) bool { return name == v.Param.Name || replaces(v.Param.Name, name) })
	i, _ := slices.BinarySearchFunc(c, v.Param.Name, func(v Value, name string) int { return strings.Compare(v.Param.Name, name) })
	return slices.Insert(c, i, v)
}

// without returns the values that drop does not name.
func (vs Values) without(drop func(name string) bool) Values {
	return slices.DeleteFunc(slices.Clone(vs), func(v Value) bool { return drop(v.Param.Name) })
}

// find returns the parameter called name.
func find(params []Param, name string) *Param {
	for i := range params {
		if params[i].Name == name {
			return &params[i]
		}
	}
	return nil
}

func paramNames(params []Param) []string {
	names := make([]string, len(params))
	for i := range params {
		names[i] = params[i].Name
	}
	return names
}

// hint lists the names that are near to one that does not exist.
func hint(name string, names []string) string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, n := range names {
		d := distance(name, n)
		if strings.HasPrefix(n, name) && name != "" {
			d = min(d, 1)
		}
		if d <= max(2, len(name)/3) {
			near = append(near, candidate{n, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return a.distance - b.distance })
	if len(near) == 0 {
		return "; there are " + strings.Join(names, ", ")
	}
	var out []string
	for _, c := range near[:min(len(near), 5)] {
		out = append(out, c.name)
	}
	return "; near it are " + strings.Join(out, ", ")
}

// distance returns the number of letters to insert, delete or replace to turn
// one name into the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := last
			if a[i] != b[j] {
				replace++
			}
			last = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
