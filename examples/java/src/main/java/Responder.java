import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** kafka-clients: copies id and key of each request to its reply. */
public class Responder {
    public static void main(String[] args) {
        String brokers = System.getenv("BOOTSTRAP");
        var producer = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", brokers),
                new StringSerializer(), new StringSerializer());
        var consumer = new KafkaConsumer<>(
                Map.<String, Object>of("bootstrap.servers", brokers, "group.id", "java"),
                new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of(
                "java.text", "java.status", "java.error", "java.nothing", "java.copy"));
        while (true) {
            consumer.poll(Duration.ofMillis(100)).forEach(request -> producer.send(reply(request)));
        }
    }

    static ProducerRecord<String, String> reply(ConsumerRecord<String, String> request) {
        String topic = new String(
                request.headers().lastHeader("reply-topic").value(), StandardCharsets.UTF_8);
        boolean nothing = request.topic().equals("java.nothing");
        var reply = new ProducerRecord<String, String>(
                topic, request.key(), nothing ? null : request.value().toUpperCase());
        if (request.topic().equals("java.copy")) { // to copy every header is harmless
            request.headers().forEach(reply.headers()::add);
        } else {
            reply.headers().add(request.headers().lastHeader("correlation-id"));
        }
        reply.headers().add("content-type", "text/plain".getBytes());
        switch (request.topic()) {
            case "java.status" -> reply.headers().add("status", "201".getBytes());
            case "java.error" -> reply.headers().add("status", "422".getBytes());
            default -> { }
        }
        return reply;
    }
}
