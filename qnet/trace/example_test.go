package trace_test

import (
	"os"

	"qstack/qnet"
	"qstack/qnet/trace"
)

func ExampleTracer() {
	w := trace.NewWriter(os.Stdout)
	defer w.Close()
	tr := trace.New(w, "alice")
	tr.Event(1250, "link", "reply").Uint("cycle", 4294963207).Str("label", qnet.PsiPlus.String()).End()
	// Output: {"t":1250,"node":"alice","layer":"link","event":"reply","cycle":4294963207,"label":"Ψ+"}
}
