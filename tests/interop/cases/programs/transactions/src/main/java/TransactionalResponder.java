import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Consume, process, produce in one transaction: reply and offset. The first try of body "abort" is rolled back. */
public class TransactionalResponder {
    static KafkaProducer<String, String> producer;

    public static void main(String[] args) throws Exception {
        String brokers = System.getenv("BOOTSTRAP");
        producer = new KafkaProducer<>(Map.of("bootstrap.servers", brokers, "transactional.id", "transactions"),
                new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", brokers, "group.id", "transactions",
                "enable.auto.commit", "false"), new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of("transactions.reply"));
        while (true) {
            for (ConsumerRecord<String, String> request : consumer.poll(Duration.ofMillis(100))) {
                if (request.value().equals("abort")) {
                    producer.beginTransaction();
                    producer.send(reply(request, "rolled back")).get();
                    producer.abortTransaction();
                }
                producer.beginTransaction();
                producer.send(reply(request, "committed"));
                producer.sendOffsetsToTransaction(Map.of(new TopicPartition(request.topic(), request.partition()),
                        new OffsetAndMetadata(request.offset() + 1)), consumer.groupMetadata());
                producer.commitTransaction();
            }
        }
    }

    static ProducerRecord<String, String> reply(ConsumerRecord<String, String> request, String value) {
        String to = new String(request.headers().lastHeader("reply-topic").value(), StandardCharsets.UTF_8);
        var reply = new ProducerRecord<String, String>(to, request.key(), value);
        reply.headers().add(request.headers().lastHeader("correlation-id"));
        return reply;
    }
}
