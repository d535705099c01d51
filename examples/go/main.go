// Package main is a responder with franz-go: it copies id and key of each request to its reply.
package main

import (
	"bytes"
	"context"
	"log"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx := context.Background()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BOOTSTRAP")),
		kgo.ConsumerGroup("go"),
		kgo.ConsumeTopics("go.text", "go.status", "go.error", "go.nothing", "go.copy"),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			log.Println(failed.Topic, failed.Err)
		}
		fetches.EachRecord(func(request *kgo.Record) {
			client.Produce(ctx, reply(request), func(_ *kgo.Record, err error) {
				if err != nil {
					log.Println(err)
				}
			})
		})
	}
}

func reply(request *kgo.Record) *kgo.Record {
	reply := &kgo.Record{Key: request.Key, Value: bytes.ToUpper(request.Value)}
	for _, header := range request.Headers {
		switch header.Key {
		case "reply-topic":
			reply.Topic = string(header.Value)
		case "correlation-id":
			reply.Headers = append(reply.Headers, header)
		}
	}
	if request.Topic == "go.copy" { // to copy every header is harmless
		reply.Headers = request.Headers
	}
	reply.Headers = append(reply.Headers, kgo.RecordHeader{Key: "content-type", Value: []byte("text/plain")})
	switch request.Topic {
	case "go.status":
		reply.Headers = append(reply.Headers, kgo.RecordHeader{Key: "status", Value: []byte("201")})
	case "go.error":
		reply.Headers = append(reply.Headers, kgo.RecordHeader{Key: "status", Value: []byte("422")})
	case "go.nothing":
		reply.Value = nil
	}
	return reply
}
