package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sort"
	"time"
)

// requestTimeout bounds every request, so a dead server ends the run instead of hanging it.
const requestTimeout = 60 * time.Second

// client posts over at most Connections kept-alive connections.
type client struct {
	http        *http.Client
	options     Options
	contentType string
}

func newClient(options Options, contentType string) *client {
	transport := &http.Transport{
		MaxIdleConnsPerHost: options.Connections,
		MaxConnsPerHost:     options.Connections,
		DisableCompression:  true,
	}
	return &client{&http.Client{Transport: transport, Timeout: requestTimeout}, options, contentType}
}

// post sends one body and returns the answer; anything but a 2xx is an error.
func (c *client) post(body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.options.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", c.contentType)
	if c.options.Key != "" {
		request.Header.Set("Authorization", "Bearer "+c.options.Key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d: %.300s", response.StatusCode, answer)
	}
	return answer, err
}

// Outcome counts what happened to the requests of a run.
type Outcome struct {
	Acknowledged int     `json:"acknowledged"`
	Errors       int     `json:"errors"`
	FirstError   string  `json:"first_error"`
	Seconds      float64 `json:"seconds"`
}

func (o *Outcome) add(err error) {
	if err == nil {
		o.Acknowledged++
		return
	}
	if o.Errors == 0 {
		o.FirstError = err.Error()
	}
	o.Errors++
}

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func latency(samples []time.Duration) Latency {
	if len(samples) == 0 {
		return Latency{}
	}
	sort.Slice(samples, func(i, j int) bool { return samples[i] < samples[j] })
	at := func(quantile float64) float64 {
		return float64(samples[int(quantile*float64(len(samples)-1))]) / float64(time.Millisecond)
	}
	return Latency{at(0.50), at(0.90), at(0.99), at(1)}
}
