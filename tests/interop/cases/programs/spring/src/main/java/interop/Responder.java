package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import org.springframework.stereotype.Component;
import org.springframework.http.HttpStatus;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.support.KafkaHeaders;
import org.springframework.messaging.Message;
import org.springframework.messaging.MessageHeaders;
import org.springframework.messaging.handler.annotation.Header;
import org.springframework.messaging.handler.annotation.Headers;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.util.MimeTypeUtils;

/** Listeners as the reference documentation of Spring for Apache Kafka shows them. */
@Component
public class Responder {
    public record Greeting(String name) {}

    public record Answer(String hello, int length) {}

    // String keys and values, the default of Boot.

    @KafkaListener(topics = "spring.text")
    @SendTo
    public String text(String in) {
        return in.toUpperCase();
    }

    @KafkaListener(topics = "spring.headers")
    @SendTo
    public String headers(@Headers Map<String, Object> headers) {
        StringBuilder seen = new StringBuilder();
        new TreeMap<>(headers).forEach((name, value) -> seen.append(name).append(": ")
                .append(value instanceof byte[] bytes ? "byte[] " + new String(bytes, StandardCharsets.UTF_8)
                        : value.getClass().getSimpleName() + " " + value).append('\n'));
        return seen.toString();
    }

    @KafkaListener(topics = "spring.null")
    @SendTo
    public String nothing(String in) {
        return in.equals("null") ? null : in;
    }

    @KafkaListener(topics = "spring.throws")
    @SendTo
    public String fails(String in) {
        throw new IllegalStateException("no stock");
    }

    @KafkaListener(topics = "spring.errorhandler", errorHandler = "failsAsText")
    @SendTo
    public String failsInText(String in) {
        throw new IllegalStateException("no stock");
    }

    @KafkaListener(topics = "spring.errormessage", errorHandler = "failsAsMessage")
    @SendTo
    public String failsWithStatus(String in) {
        throw new IllegalStateException("no stock");
    }

    @KafkaListener(topics = "spring.serversentanerror", errorHandler = "failsWithHeader")
    @SendTo
    public String failsAsDocumented(String in) {
        throw new IllegalStateException("no stock");
    }

    @KafkaListener(topics = "spring.message")
    @SendTo
    public Message<?> message(String in) {
        return MessageBuilder.withPayload(in.toUpperCase())
                .setHeader("status", 201)
                .setHeader("content-type", "text/plain")
                .setHeader("x-custom", "a value")
                .setHeader("x-number", 7)
                .setHeader("someOtherHeader", "someValue")
                .build();
    }

    @KafkaListener(id = "messageReturned", topics = "spring.messageraw")
    public Message<?> messageRaw(String in, @Header(KafkaHeaders.REPLY_TOPIC) byte[] replyTo,
            @Header(KafkaHeaders.CORRELATION_ID) byte[] correlation) {
        return MessageBuilder.withPayload(in.toUpperCase())
                .setHeader(KafkaHeaders.TOPIC, replyTo)
                .setHeader(KafkaHeaders.KEY, "42")
                .setHeader(KafkaHeaders.CORRELATION_ID, correlation)
                .setHeader("someOtherHeader", "someValue")
                .build();
    }

    @KafkaListener(topics = "spring.contenttype")
    @SendTo
    public Message<?> contentType(String in) {
        return MessageBuilder.withPayload("{\"hello\":\"" + in + "\"}")
                .setHeader(MessageHeaders.CONTENT_TYPE, MimeTypeUtils.APPLICATION_JSON)
                .build();
    }

    @KafkaListener(topics = "spring.httpstatus")
    @SendTo
    public Message<?> httpStatus(String in) {
        return MessageBuilder.withPayload(in).setHeader("status", HttpStatus.CREATED).build();
    }

    @KafkaListener(topics = "spring.nocontent")
    @SendTo
    public Message<?> noContent(String in) {
        return MessageBuilder.withPayload("").setHeader("status", HttpStatus.NO_CONTENT).build();
    }

    @KafkaListener(topics = "spring.copyheaders")
    @SendTo
    public Message<?> copyHeaders(Message<String> in) {
        return MessageBuilder.withPayload(in.getPayload().toUpperCase()).copyHeaders(in.getHeaders()).build();
    }

    @KafkaListener(topics = "spring.list")
    @SendTo
    public List<String> list(String in) {
        return Arrays.asList(in.split(","));
    }

    @KafkaListener(topics = "spring.async")
    @SendTo
    public CompletableFuture<String> async(String in) {
        return CompletableFuture.supplyAsync(() -> in.toUpperCase());
    }

    @KafkaListener(topics = "spring.asyncfails")
    @SendTo
    public CompletableFuture<String> asyncFails(String in) {
        return CompletableFuture.failedFuture(new IllegalStateException("no stock"));
    }

    @KafkaListener(topics = "spring.batch", batch = "true")
    @SendTo
    public List<String> batch(List<String> in) {
        return in.stream().map(String::toUpperCase).toList();
    }

    @KafkaListener(topics = "spring.batchmessages", batch = "true")
    public Collection<Message<?>> batchMessages(List<Message<String>> in) {
        List<Message<?>> out = new ArrayList<>();
        for (Message<String> one : in) {
            out.add(MessageBuilder.withPayload(one.getPayload().toUpperCase())
                    .setHeader(KafkaHeaders.TOPIC, one.getHeaders().get(KafkaHeaders.REPLY_TOPIC))
                    .setHeader(KafkaHeaders.CORRELATION_ID, one.getHeaders().get(KafkaHeaders.CORRELATION_ID))
                    .build());
        }
        return out;
    }

    /** A value that the reply template's serializer does not take. */
    @KafkaListener(topics = "spring.unserializable")
    @SendTo
    public Answer unserializable(String in) {
        return new Answer(in, in.length());
    }

    @KafkaListener(topics = "spring.fixed")
    @SendTo("replies")
    public String fixed(String in) {
        return in.toUpperCase();
    }

    // JSON.

    @KafkaListener(topics = "spring.json", containerFactory = "jsonFactory")
    @SendTo
    public Answer json(Greeting in) {
        return new Answer(in.name(), in.name().length());
    }

    @KafkaListener(topics = "spring.listwhole", containerFactory = "stringToJsonFactory", splitIterables = false)
    @SendTo
    public List<String> listWhole(String in) {
        return Arrays.asList(in.split(","));
    }

    @KafkaListener(topics = "spring.jsonconverter", containerFactory = "converterFactory")
    @SendTo
    public Answer jsonConverter(Greeting in) {
        return new Answer(in.name(), in.name().length());
    }

    @KafkaListener(topics = "spring.typed", containerFactory = "typedFactory")
    @SendTo
    public Answer typed(Greeting in) {
        return new Answer(in.name(), in.name().length());
    }

    @KafkaListener(topics = "spring.bytes", containerFactory = "bytesFactory")
    @SendTo
    public byte[] bytes(byte[] in) {
        return in;
    }

    @KafkaListener(topics = "spring.intkey", containerFactory = "intKeyFactory")
    @SendTo
    public String intKey(String in) {
        return in.toUpperCase();
    }

    // Failures.

    @KafkaListener(topics = "spring.dlt", containerFactory = "dltFactory")
    @SendTo
    public String toDeadLetters(String in) {
        throw new IllegalStateException("no stock");
    }
}
