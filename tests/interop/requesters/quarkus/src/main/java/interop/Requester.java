package interop;

import io.quarkus.runtime.Quarkus;
import io.quarkus.runtime.StartupEvent;
import io.smallrye.common.annotation.Identifier;
import io.smallrye.mutiny.infrastructure.Infrastructure;
import io.smallrye.reactive.messaging.kafka.KafkaRecord;
import io.smallrye.reactive.messaging.kafka.reply.KafkaRequestReply;
import io.smallrye.reactive.messaging.kafka.reply.ReplyFailureHandler;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import jakarta.inject.Inject;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.eclipse.microprofile.reactive.messaging.Channel;

/** KafkaRequestReply with UUIDs and binary ids, a reply partition, and a handler of failures. */
@ApplicationScoped
public class Requester {
    @Inject @Channel("echo") KafkaRequestReply<String, String> echo;
    @Inject @Channel("orders") KafkaRequestReply<String, String> orders;
    @Inject @Channel("partition") KafkaRequestReply<String, String> partition;
    @Inject @Channel("binary") KafkaRequestReply<String, String> binary;

    /** As the documentation has it. */
    @ApplicationScoped
    @Identifier("reply-error")
    public static class Failures implements ReplyFailureHandler {
        @Override
        public Throwable handleReply(KafkaRecord<?, ?> reply) {
            var error = reply.getHeaders().lastHeader("REPLY_ERROR");
            return error == null ? null : new IllegalStateException(new String(error.value(), StandardCharsets.UTF_8));
        }
    }

    void run(@Observes StartupEvent event) {
        Infrastructure.getDefaultExecutor().execute(() -> {
            call("default", echo, "hello");
            call("reply partition", partition, "hello");
            call("binary id", binary, "hello");
            call("order", orders, "{\"item\": \"tea\", \"quantity\": 2}");
            call("order refused", orders, "{\"item\": \"\"}");
            Quarkus.asyncExit();
        });
    }

    private static void call(String name, KafkaRequestReply<String, String> channel, String body) {
        try {
            print(name, "reply", channel.request(body).await().atMost(Duration.ofSeconds(15)));
        } catch (Throwable failed) {
            print(name, "error", failed.toString());
        }
    }

    private static void print(String name, String outcome, String text) {
        System.out.println("call\t" + name + "\t" + outcome + "\t" + text.replaceAll("\\s+", " "));
    }
}
