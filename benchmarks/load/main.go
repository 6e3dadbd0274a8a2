// Load in, one line of JSON out: a cheap, bounded loader that talks to this machine only.
//
//	load spans  -url http://127.0.0.1:4318/v1/traces -batches DIR -requests 400 -connections 8 -first 0
//	load ask    -url http://127.0.0.1:4320/v1/decisions -body JSON -rate 5000 -seconds 3 -connections 64
//	load floor  -seconds 60        # a bare server that answers a constant; prints its address first
//
// `spans` is a closed loop: the next batch leaves when an earlier one is acknowledged. `ask` is an
// open loop: requests are due at a fixed rate whatever the server does, and latency is counted both
// from the moment a request was due and from the moment it was sent.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("say one of: spans, ask, floor"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	options := Options{}
	flags.StringVar(&options.URL, "url", "", "where to send, on this machine")
	flags.StringVar(&options.Key, "key", "", "bearer key, none when empty")
	flags.IntVar(&options.Connections, "connections", 8, "requests in flight at most")
	batches := flags.String("batches", "", "folder of OTLP batches (*.pb) as benchmarks/payload.py makes them")
	requests := flags.Int("requests", 100, "how many batches to send")
	first := flags.Uint("first", 0, "number of the first batch; numbers make ids unique")
	body := flags.String("body", "{}", "the question; %d becomes its number")
	rate := flags.Float64("rate", 1000, "questions a second")
	seconds := flags.Float64("seconds", 3, "how long to ask or to answer")
	if err := flags.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	var result any
	var err error
	switch os.Args[1] {
	case "floor":
		err = answerConstant(duration(*seconds))
	case "spans":
		result, err = sendSpans(options, *batches, *requests, uint32(*first))
	case "ask":
		result, err = ask(options, *body, *rate, duration(*seconds))
	default:
		err = fmt.Errorf("%q is not one of spans, ask, floor", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
	if result != nil {
		if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
			fail(err)
		}
	}
}

// Options are what both loops share.
type Options struct {
	URL         string
	Key         string
	Connections int
}

// checkLoopback refuses any address that is not this machine's own.
func (o Options) checkLoopback() error {
	parsed, err := url.Parse(o.URL)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(parsed.Hostname()); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%q is not an address of this machine", o.URL)
	}
	return nil
}

func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}
