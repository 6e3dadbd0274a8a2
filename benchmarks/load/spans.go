package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Ids in the batches begin with marks (benchmarks/payload.py). Each mark is looked for with the
// protobuf tag and length in front of it, and the four bytes behind it are overwritten with the
// number of the batch: so one file can be sent many times and never repeats an id.
var idFrames = [][]byte{
	{0x0a, 16, 0xf1, 0xa9, 0xc3, 0xe7}, // trace_id
	{0x12, 8, 0xfe, 0xb8},              // span_id
	{0x22, 8, 0xfe, 0xb8},              // parent_span_id
}

// Ids of responses and tool calls are text: eight hex digits behind these are the batch's number. Two
// calls with one id would be one call to Spanward.
var textMarks = [][]byte{[]byte("chatcmpl-"), []byte("call_")}

// template is one batch and where the batch number goes in it: as four bytes, and as eight digits.
type template struct {
	bytes  []byte
	holes  []int
	digits []int
}

func readTemplates(folder string) ([]template, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.pb"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no batches in %q: %w", folder, err)
	}
	var templates []template
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		templates = append(templates, template{content, holes(content, idFrames), holes(content, textMarks)})
	}
	return templates, nil
}

// holes finds where the batch number goes.
func holes(content []byte, frames [][]byte) (found []int) {
	for i := range content {
		for _, frame := range frames {
			if bytes.HasPrefix(content[i:], frame) {
				found = append(found, i+len(frame))
			}
		}
	}
	return found
}

// number copies the template into buffer with the batch number in every id.
func (t template) number(buffer []byte, batch uint32) []byte {
	buffer = append(buffer[:0], t.bytes...)
	for _, hole := range t.holes {
		binary.BigEndian.PutUint32(buffer[hole:], batch)
	}
	number := []byte(fmt.Sprintf("%08x", batch))
	for _, hole := range t.digits {
		copy(buffer[hole:], number)
	}
	return buffer
}

// SpansResult is what a closed loop of batches saw.
type SpansResult struct {
	Outcome
	Latency
	Bytes int `json:"bytes"`
}

func sendSpans(options Options, folder string, requests int, first uint32) (*SpansResult, error) {
	if err := options.checkLoopback(); err != nil {
		return nil, err
	}
	templates, err := readTemplates(folder)
	if err != nil {
		return nil, err
	}
	sender := newClient(options, "application/x-protobuf")
	numbers := make(chan uint32)
	go func() {
		defer close(numbers)
		for i := range requests {
			numbers <- first + uint32(i)
		}
	}()
	result := &SpansResult{}
	var samples []time.Duration
	var lock sync.Mutex // guards result and samples
	var workers sync.WaitGroup
	start := time.Now()
	for range options.Connections {
		workers.Go(func() {
			var buffer []byte
			for number := range numbers {
				buffer = templates[int(number)%len(templates)].number(buffer, number)
				sent := time.Now()
				_, err := sender.post(buffer)
				took := time.Since(sent)
				lock.Lock()
				result.add(err)
				samples = append(samples, took)
				result.Bytes += len(buffer)
				lock.Unlock()
			}
		})
	}
	workers.Wait()
	result.Seconds = time.Since(start).Seconds()
	result.Latency = latency(samples)
	return result, nil
}
