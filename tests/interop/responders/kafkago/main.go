package main

import (
	"bytes"
	"context"
	"log"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	ctx := context.Background()
	brokers := []string{os.Getenv("BOOTSTRAP")}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:     brokers,
		GroupID:     "kafkago",
		GroupTopics: []string{"kafkago.text", "kafkago.status", "kafkago.error", "kafkago.nothing", "kafkago.copy"},
		MaxWait:     100 * time.Millisecond,
	})
	writer := &kafka.Writer{Addr: kafka.TCP(brokers...), BatchTimeout: time.Millisecond}
	for {
		request, err := reader.ReadMessage(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := writer.WriteMessages(ctx, reply(request)); err != nil {
			log.Println(err)
		}
	}
}

func reply(request kafka.Message) kafka.Message {
	reply := kafka.Message{Key: request.Key, Value: bytes.ToUpper(request.Value)}
	for _, header := range request.Headers {
		switch header.Key {
		case "reply-topic":
			reply.Topic = string(header.Value)
		case "correlation-id":
			reply.Headers = append(reply.Headers, header)
		}
	}
	if request.Topic == "kafkago.copy" {
		reply.Headers = request.Headers
	}
	reply.Headers = append(reply.Headers, kafka.Header{Key: "content-type", Value: []byte("text/plain")})
	switch request.Topic {
	case "kafkago.status":
		reply.Headers = append(reply.Headers, kafka.Header{Key: "status", Value: []byte("201")})
	case "kafkago.error":
		reply.Headers = append(reply.Headers, kafka.Header{Key: "status", Value: []byte("422")})
	case "kafkago.nothing":
		reply.Value = nil
	}
	return reply
}
