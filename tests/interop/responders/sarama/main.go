package main

import (
	"bytes"
	"context"
	"log"
	"os"

	"github.com/IBM/sarama"
)

type responder struct{ producer sarama.SyncProducer }

func (responder) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (responder) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (r responder) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for request := range claim.Messages() {
		if _, _, err := r.producer.SendMessage(reply(request)); err != nil {
			log.Println(err)
		}
		session.MarkMessage(request, "")
	}
	return nil
}

func reply(request *sarama.ConsumerMessage) *sarama.ProducerMessage {
	reply := &sarama.ProducerMessage{
		Key:   sarama.ByteEncoder(request.Key),
		Value: sarama.ByteEncoder(bytes.ToUpper(request.Value)),
	}
	for _, header := range request.Headers {
		switch string(header.Key) {
		case "reply-topic":
			reply.Topic = string(header.Value)
		case "correlation-id":
			reply.Headers = append(reply.Headers, *header)
		default:
			if request.Topic == "sarama.copy" {
				reply.Headers = append(reply.Headers, *header)
			}
		}
	}
	reply.Headers = append(reply.Headers, sarama.RecordHeader{Key: []byte("content-type"), Value: []byte("text/plain")})
	switch request.Topic {
	case "sarama.status":
		reply.Headers = append(reply.Headers, sarama.RecordHeader{Key: []byte("status"), Value: []byte("201")})
	case "sarama.error":
		reply.Headers = append(reply.Headers, sarama.RecordHeader{Key: []byte("status"), Value: []byte("422")})
	case "sarama.nothing":
		reply.Value = nil
	}
	return reply
}

func main() {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	brokers := []string{os.Getenv("BOOTSTRAP")}
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	group, err := sarama.NewConsumerGroup(brokers, "sarama", config)
	if err != nil {
		log.Fatal(err)
	}
	topics := []string{"sarama.text", "sarama.status", "sarama.error", "sarama.nothing", "sarama.copy"}
	for {
		if err := group.Consume(context.Background(), topics, responder{producer}); err != nil {
			log.Fatal(err)
		}
	}
}
