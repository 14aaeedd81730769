package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A daemon at rest: under 40 MiB of memory, and under 1 % of a core.
func TestRest(t *testing.T) {
	n := ions3(t)
	n.start()
	n.waitTraffic("alice", "charlie") // rest is after work
	n.waitNoQubits()
	// Whatever else the machine does makes processes slower, never faster: the
	// least of three spans counts.
	least := make(map[string]float64)
	for tries := 0; tries < 3; tries++ {
		before := make(map[string]time.Duration)
		began := time.Now()
		for name, p := range n.running {
			before[name] = cpuTime(t, p.pid())
		}
		// What is measured is what happens when nothing happens: three spans at most.
		time.Sleep(3 * time.Second)
		most := 0.0
		for name, p := range n.running {
			share := float64(cpuTime(t, p.pid())-before[name]) / float64(time.Since(began))
			if old, ok := least[name]; !ok || share < old {
				least[name] = share
			}
			most = max(most, least[name])
		}
		if most < 0.01 {
			break
		}
	}
	for name, p := range n.running {
		rss := residentBytes(t, p.pid())
		t.Logf("%s: %.2f %% of a core, %.1f MiB", name, 100*least[name], float64(rss)/(1<<20))
		if least[name] >= 0.01 {
			t.Errorf("%s takes %.2f %% of a core at rest", name, 100*least[name])
		}
		if rss >= 40<<20 {
			t.Errorf("%s has %.1f MiB at rest", name, float64(rss)/(1<<20))
		}
	}
	n.stop()
}

// cpuTime returns the time that a process has been running on processors.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("the threads of process %d: %v", pid, err)
	}
	var sum time.Duration
	for _, f := range tasks {
		data, err := os.ReadFile(f)
		if err != nil { // a thread that has ended
			continue
		}
		ns, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// residentBytes returns the physical memory of a process.
func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
