package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"qstack/qsocket"
)

// The programs under test.
var qnodedBin, teleportBin string

// programVariable makes the test binary act as a program of its own.
const programVariable = "INTEROP_PROGRAM"

func TestMain(m *testing.M) {
	if name := os.Getenv(programVariable); name != "" {
		fmt.Fprintln(os.Stderr, runProgram(name, os.Args[1:]))
		os.Exit(1)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	build := exec.Command("go", "build", "-o", dir+"/", "qstack/cmd/qnoded", "qstack/examples/teleport")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the programs:", err)
		return 1
	}
	qnodedBin, teleportBin = filepath.Join(dir, "qnoded"), filepath.Join(dir, "teleport")
	return m.Run()
}

// runProgram is the program of a user that never ends by itself: it keeps half
// of a pair.
//
//	hold FROM ADDRESS    dials ADDRESS from the node FROM, keeps one pair, says "holding", and waits
func runProgram(name string, args []string) error {
	if name != "hold" || len(args) != 2 {
		return fmt.Errorf("unknown program %s %q", name, args)
	}
	ctx := context.Background()
	node, err := qsocket.Open(ctx, args[0])
	if err != nil {
		return err
	}
	conn, err := node.Dial(ctx, args[1], qsocket.Contract{})
	if err != nil {
		return err
	}
	if _, err := conn.Keep(ctx, 1); err != nil {
		return err
	}
	fmt.Println("holding")
	_, err = conn.Read(make([]byte, 1))
	return errors.Join(errors.New("the other end went away"), err)
}
