package sweep

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"qstack/app/workload"
	"qstack/qnet"
)

// Record is a line of a file of results: one run.
type Record struct {
	Row     string           `json:"row"` // its name when it was run; what counts is Hash
	Hash    string           `json:"hash"`
	Number  int              `json:"number"`  // of the run among those of its row
	Program string           `json:"program"` // that made it
	Result  *workload.Result `json:"result"`
}

// id tells records apart.
type id struct {
	hash   string
	number int
}

// Store is a folder of results: files of JSON lines, of which one is written to.
// Several processes may share the folder if each writes to a file of its own.
type Store struct {
	program string
	mu      sync.Mutex
	results map[id]*workload.Result
	others  int // records of other programs
	file    *os.File
	err     error // of writing
}

// maxLine bounds a line in bytes.
const maxLine = 64 << 20

// OpenStore reads the results in the folder dir, which is made if it is not there,
// that program has made, and will write to its file called name. A last line that
// was not finished does not count, and is taken away in that file.
func OpenStore(dir, name, program string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	s := &Store{program: program, results: make(map[id]*workload.Result)}
	own := filepath.Join(dir, name)
	file, err := os.OpenFile(own, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	if err := s.readAll(dir, own, file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s.file = file
	return s, nil
}

// readAll reads all files of the folder. Of its own one it cuts off a line that
// was not finished.
func (s *Store) readAll(dir, own string, file *os.File) error {
	names, err := filepath.Glob(filepath.Join(globQuote(dir), "*.jsonl"))
	if err != nil {
		return err
	}
	for _, name := range names {
		f := file
		if name != own {
			if f, err = os.Open(name); err != nil {
				return fmt.Errorf("results: %w", err)
			}
		}
		whole, err := s.read(name, f)
		if name != own {
			err = errors.Join(err, f.Close())
		} else if err == nil {
			err = f.Truncate(whole)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads a file, and returns the length of the lines that are whole.
func (s *Store) read(name string, f io.Reader) (whole int64, err error) {
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := readLine(r)
		if err == io.EOF {
			return whole, nil // what stands after the last end of a line is torn
		}
		var rec Record
		if err == nil {
			err = json.Unmarshal(line, &rec)
		}
		if err == nil && (rec.Result == nil || rec.Hash == "" || rec.Number < 1) {
			err = errors.New("not a run")
		}
		if err == nil && rec.Result.Version > workload.Version {
			err = fmt.Errorf("version %d of results, this program reads %d", rec.Result.Version, workload.Version)
		}
		if err != nil {
			return 0, qnet.Errorf(qnet.ErrInvalid, "%s:%d: %v: move the file away, or repair it", name, n, err)
		}
		whole += int64(len(line))
		if rec.Program != s.program {
			s.others++
			continue
		}
		s.results[id{rec.Hash, rec.Number}] = rec.Result
	}
}

// readLine returns the next line with its end. The error is io.EOF for one without.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err != bufio.ErrBufferFull {
			return line, err
		}
		if len(line) > maxLine {
			return nil, errors.New("a line is too long")
		}
	}
}

// Others returns the number of runs in the folder that another program made.
func (s *Store) Others() int { return s.others }

// Get returns the result of a run, nil when there is none.
func (s *Store) Get(j Job) *workload.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.results[id{j.Row.Hash, j.Number}]
}

// Row returns the results of a row, in the order of their numbers.
func (s *Store) Row(p *Planned) []*workload.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*workload.Result
	for n := range p.Seeds {
		if r := s.results[id{p.Hash, n + 1}]; r != nil {
			out = append(out, r)
		}
	}
	return slices.Clip(out)
}

// Put adds the result of a run, as one line that is written at once.
func (s *Store) Put(j Job, r *workload.Result) error {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(Record{Row: j.Row.Name, Hash: j.Row.Hash, Number: j.Number, Program: s.program, Result: r}); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err // a part of a line may stand there
	}
	if _, err := s.file.Write(line.Bytes()); err != nil {
		s.err = fmt.Errorf("results: %w", err)
		return s.err
	}
	s.results[id{j.Row.Hash, j.Number}] = r
	return nil
}

// Close closes the file.
func (s *Store) Close() error { return s.file.Close() }
