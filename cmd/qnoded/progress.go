package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// newProgress returns a function that shows how far the work in stages is, on a
// terminal; elsewhere it shows nothing.
func newProgress(w io.Writer) (update func(stage string, done, total int), finish func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string, int, int) {}, func() {}
	}
	var bar *progressbar.ProgressBar
	var current string
	finish = func() {
		if bar != nil {
			_ = bar.Finish() // the terminal may have gone
			bar = nil
		}
	}
	return func(stage string, done, total int) {
		if stage != current {
			finish()
			current = stage
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(stage),
				progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true))
		}
		_ = bar.Set(done)
	}, finish
}
