package interop;

import io.smallrye.mutiny.Multi;
import io.smallrye.mutiny.Uni;
import io.smallrye.reactive.messaging.kafka.Record;
import io.smallrye.reactive.messaging.kafka.api.OutgoingKafkaRecordMetadata;
import jakarta.enterprise.context.ApplicationScoped;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.eclipse.microprofile.reactive.messaging.Incoming;
import org.eclipse.microprofile.reactive.messaging.Message;
import org.eclipse.microprofile.reactive.messaging.Outgoing;

/** Repliers as the documentation of Kafka Request/Reply shows them: an incoming and an outgoing channel each. */
@ApplicationScoped
public class Responder {
    public record Greeting(String name) {}

    public record Answer(String hello, int length) {}

    @Incoming("text-in") @Outgoing("text-out")
    String text(String in) {
        return in.toUpperCase();
    }

    @Incoming("number-in") @Outgoing("number-out")
    int number(String in) {
        return in.length();
    }

    @Incoming("pojo-in") @Outgoing("pojo-out")
    Answer pojo(Greeting in) {
        return new Answer(in.name(), in.name().length());
    }

    @Incoming("pojofail-in") @Outgoing("pojofail-out")
    Answer pojoFail(Greeting in) {
        return new Answer(in.name(), in.name().length());
    }

    @Incoming("bytes-in") @Outgoing("bytes-out")
    byte[] bytes(byte[] in) {
        return in;
    }

    @Incoming("uni-in") @Outgoing("uni-out")
    Uni<String> uni(String in) {
        return Uni.createFrom().item(in.toUpperCase());
    }

    @Incoming("message-in") @Outgoing("message-out")
    Message<String> message(Message<String> in) {
        return withHeaders(in, in.getPayload().toUpperCase(), "status", "201", "content-type", "text/plain", "x-custom", "a value");
    }

    @Incoming("nocontent-in") @Outgoing("nocontent-out")
    Message<String> noContent(Message<String> in) {
        return withHeaders(in, "", "status", "204");
    }

    @Incoming("list-in") @Outgoing("list-out")
    List<String> list(String in) {
        return List.of(in.split(","));
    }

    @Incoming("record-in") @Outgoing("record-out")
    Record<String, String> record(Record<String, String> in) {
        return Record.of(in.key(), in.value().toUpperCase());
    }

    @Incoming("replyerror-in") @Outgoing("replyerror-out")
    Message<String> replyError(Message<String> in) {
        return withHeaders(in, "", "REPLY_ERROR", "no stock");
    }

    @Incoming("null-in") @Outgoing("null-out")
    String nothing(String in) {
        return null;
    }

    @Incoming("multi-in") @Outgoing("multi-out")
    Multi<String> multi(Multi<String> in) {
        return in.onItem().transformToMultiAndConcatenate(one -> Multi.createFrom().items(one + " 1", one + " 2", one + " 3"));
    }

    @Incoming("ignores-in") @Outgoing("ignores-out")
    String ignores(String in) {
        return checked(in);
    }

    @Incoming("dlq-in") @Outgoing("dlq-out")
    String dlq(String in) {
        return checked(in);
    }

    @Incoming("throws-in") @Outgoing("throws-out")
    String fails(String in) {
        return checked(in);
    }

    private static String checked(String in) {
        if (in.equals("boom")) {
            throw new IllegalStateException("no stock");
        }
        return in.toUpperCase();
    }

    private static Message<String> withHeaders(Message<String> in, String payload, String... headers) {
        RecordHeaders all = new RecordHeaders();
        for (int i = 0; i < headers.length; i += 2) {
            all.add(headers[i], headers[i + 1].getBytes(StandardCharsets.UTF_8));
        }
        return in.withPayload(payload).addMetadata(OutgoingKafkaRecordMetadata.<String>builder().withHeaders(all).build());
    }
}
