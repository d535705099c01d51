package interop;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.springframework.boot.ApplicationRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.listener.ConcurrentMessageListenerContainer;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;
import org.springframework.kafka.support.TopicPartitionOffset;

/** ReplyingKafkaTemplate with binary ids, text ids, and a reply partition of its own. */
@SpringBootApplication
public class Requester {
    private static final String REPLIES = "spring.replies";

    @Bean
    ReplyingKafkaTemplate<String, String, String> binary(ProducerFactory<String, String> producers,
            ConcurrentKafkaListenerContainerFactory<String, String> containers) {
        return shared(producers, containers);
    }

    @Bean
    ReplyingKafkaTemplate<String, String, String> text(ProducerFactory<String, String> producers,
            ConcurrentKafkaListenerContainerFactory<String, String> containers) {
        var template = shared(producers, containers);
        template.setBinaryCorrelation(false);
        return template;
    }

    @Bean
    ReplyingKafkaTemplate<String, String, String> partition(ProducerFactory<String, String> producers,
            ConcurrentKafkaListenerContainerFactory<String, String> containers) {
        var container = containers.createContainer(new TopicPartitionOffset("spring.partition.replies", 2));
        return new ReplyingKafkaTemplate<>(producers, container);
    }

    private static ReplyingKafkaTemplate<String, String, String> shared(ProducerFactory<String, String> producers,
            ConcurrentKafkaListenerContainerFactory<String, String> containers) {
        ConcurrentMessageListenerContainer<String, String> container = containers.createContainer(REPLIES);
        container.getContainerProperties().setGroupId(UUID.randomUUID().toString());
        var template = new ReplyingKafkaTemplate<>(producers, container);
        template.setSharedReplyTopic(true);
        template.setReplyErrorChecker(Requester::error);
        return template;
    }

    /** As the documentation has it. */
    private static Exception error(ConsumerRecord<?, ?> reply) {
        var error = reply.headers().lastHeader("serverSentAnError");
        return error == null ? null : new IllegalStateException(new String(error.value(), StandardCharsets.UTF_8));
    }

    @Bean
    ApplicationRunner runner(ConfigurableApplicationContext context, ReplyingKafkaTemplate<String, String, String> binary,
            ReplyingKafkaTemplate<String, String, String> text, ReplyingKafkaTemplate<String, String, String> partition) {
        return args -> {
            for (var template : List.of(binary, text, partition)) {
                template.waitForAssignment(Duration.ofSeconds(30));
            }
            call("binary id", binary, "echo", null, "hello");
            call("binary id, with key", binary, "echo", "key-1", "hello");
            call("text id", text, "echo", null, "hello");
            call("reply partition", partition, "echo", null, "hello");
            call("order", binary, "orders", null, "{\"item\": \"tea\", \"quantity\": 2}");
            call("order refused", binary, "orders", null, "{\"item\": \"\"}");
            call("handler fails", binary, "orders", null, "{\"item\": \"bomb\"}");
            context.close();
        };
    }

    private static void call(String name, ReplyingKafkaTemplate<String, String, String> template, String topic,
            String key, String value) throws Exception {
        try {
            var reply = template.sendAndReceive(new ProducerRecord<>(topic, key, value)).get(10, TimeUnit.SECONDS);
            print(name, "reply", reply.value() + " partition " + reply.partition());
        } catch (ExecutionException failed) {
            print(name, "error", failed.getCause().toString());
        }
    }

    private static void print(String name, String outcome, String text) {
        System.out.println("call\t" + name + "\t" + outcome + "\t" + text.replaceAll("\\s+", " "));
    }

    public static void main(String[] args) {
        SpringApplication.run(Requester.class, args);
    }
}
