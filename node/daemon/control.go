package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"qstack/qsocket/local"
)

// controlServer answers operators: HTTP with JSON on a unix socket that only
// the owner can open.
//
//	GET /v1/status    Status
type controlServer struct {
	path   string
	server *http.Server
	done   sync.WaitGroup
}

func serveControl(path string, d *Daemon) (*controlServer, error) {
	if err := local.Prepare(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		st, err := d.Status(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(st) // the client may have gone
	})
	c := &controlServer{path: path, server: &http.Server{Handler: mux, ReadHeaderTimeout: time.Second, MaxHeaderBytes: 16 << 10}}
	c.done.Go(func() { _ = c.server.Serve(l) }) // ends by Close
	return c, nil
}

// Close stops the server and removes the socket.
func (c *controlServer) Close() error {
	err := c.server.Close()
	c.done.Wait()
	return err
}

// FetchStatus asks the process behind a control socket for its status.
func FetchStatus(ctx context.Context, path string) (*Status, error) {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	defer t.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://qnoded/v1/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: %s", path, resp.Status)
	}
	st := new(Status)
	if err := json.NewDecoder(resp.Body).Decode(st); err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	return st, nil
}
