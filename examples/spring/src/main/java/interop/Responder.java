package interop;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.listener.KafkaListenerErrorHandler;
import org.springframework.messaging.Message;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.messaging.support.MessageBuilder;

/** Listeners that reply to the topic of the request's header. */
@SpringBootApplication
public class Responder {
    @KafkaListener(topics = "spring.text")
    @SendTo
    public String text(String in) {
        return in.toUpperCase();
    }

    @KafkaListener(topics = "spring.status")
    @SendTo
    public Message<?> status(String in) {
        return MessageBuilder.withPayload(in.toUpperCase())
                .setHeader("status", 201)
                .setHeader("content-type", "text/plain")
                .build();
    }

    @KafkaListener(topics = "spring.error", errorHandler = "reportsFailures")
    @SendTo
    public String error(String in) {
        throw new IllegalStateException("out of stock");
    }

    @KafkaListener(topics = "spring.nothing")
    @SendTo
    public String nothing(String in) {
        return null;
    }

    @Bean
    static KafkaListenerErrorHandler reportsFailures() {
        return (message, exception) -> MessageBuilder
                .withPayload(exception.getCause().getMessage())
                .setHeader("status", 422)
                .build();
    }

    public static void main(String[] args) {
        SpringApplication.run(Responder.class, args);
    }
}
