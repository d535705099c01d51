import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Configuration;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.messaging.handler.annotation.SendTo;

/** An echo responder of Spring for Apache Kafka, as its documentation shows it: java -cp LIBRARIES SpringResponder.java. */
@Configuration(proxyBeanMethods = false)
@EnableAutoConfiguration
public class SpringResponder {
    public static void main(String[] arguments) {
        SpringApplication.run(SpringResponder.class, arguments);
    }

    @KafkaListener(topics = "${TOPIC}", groupId = "${GROUP}")
    @SendTo
    public String echo(String value) {
        return value;
    }
}
