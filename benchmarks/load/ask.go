package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// AskResult is what an open loop of questions saw. `from_due` includes the time a question waited
// because the server, or this loader, was late; `from_send` does not.
type AskResult struct {
	Outcome
	FromDue  Latency `json:"from_due"`
	FromSend Latency `json:"from_send"`
	Allowed  int     `json:"allowed"`
}

var allowed = []byte(`"verdict":"allow"`)

func ask(options Options, body string, rate float64, lasting time.Duration) (*AskResult, error) {
	if err := options.checkLoopback(); err != nil {
		return nil, err
	}
	asker := newClient(options, "application/json")
	total := int64(rate * lasting.Seconds())
	var next atomic.Int64
	result := &AskResult{}
	var fromDue, fromSend []time.Duration
	var lock sync.Mutex // guards result and both lists
	var workers sync.WaitGroup
	start := time.Now()
	for range options.Connections {
		workers.Go(func() {
			for {
				number := next.Add(1) - 1
				if number >= total {
					return
				}
				due := start.Add(time.Duration(float64(number) / rate * float64(time.Second)))
				time.Sleep(time.Until(due))
				question := []byte(strings.Replace(body, "%d", strconv.FormatInt(number, 10), 1))
				sent := time.Now()
				answer, err := asker.post(question)
				done := time.Now()
				lock.Lock()
				result.add(err)
				if bytes.Contains(answer, allowed) {
					result.Allowed++
				}
				fromDue = append(fromDue, done.Sub(due))
				fromSend = append(fromSend, done.Sub(sent))
				lock.Unlock()
			}
		})
	}
	workers.Wait()
	result.Seconds = time.Since(start).Seconds()
	result.FromDue, result.FromSend = latency(fromDue), latency(fromSend)
	return result, nil
}

// answerConstant is the floor of every decision latency: net/http, one fixed answer, nothing else.
func answerConstant(lasting time.Duration) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/\n", listener.Addr())
	answer := []byte(`{"decision_id":"0","verdict":"allow","reasons":[],"hold":null,"budgets":[],"epoch":1}`)
	server := &http.Server{ReadHeaderTimeout: requestTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})}
	time.AfterFunc(lasting, func() { _ = server.Close() })
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}
