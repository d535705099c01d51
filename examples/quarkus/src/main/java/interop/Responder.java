package interop;

import io.smallrye.reactive.messaging.kafka.api.OutgoingKafkaRecordMetadata;
import jakarta.enterprise.context.ApplicationScoped;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.eclipse.microprofile.reactive.messaging.Incoming;
import org.eclipse.microprofile.reactive.messaging.Message;
import org.eclipse.microprofile.reactive.messaging.Outgoing;

/** Repliers: an incoming and an outgoing channel each. */
@ApplicationScoped
public class Responder {
    @Incoming("text-in") @Outgoing("text-out")
    String text(String in) {
        return in.toUpperCase();
    }

    @Incoming("status-in") @Outgoing("status-out")
    Message<String> status(Message<String> in) {
        Headers headers = new RecordHeaders()
                .add("status", "201".getBytes())
                .add("content-type", "text/plain".getBytes());
        return reply(in, in.getPayload().toUpperCase(), headers);
    }

    @Incoming("error-in") @Outgoing("error-out")
    Message<String> error(Message<String> in) {
        return reply(in, "", new RecordHeaders().add("REPLY_ERROR", "out of stock".getBytes()));
    }

    @Incoming("nothing-in") @Outgoing("nothing-out")
    String nothing(String in) {
        return null;
    }

    private static Message<String> reply(Message<String> in, String payload, Headers headers) {
        return in.withPayload(payload)
                .addMetadata(OutgoingKafkaRecordMetadata.builder().withHeaders(headers).build());
    }
}
