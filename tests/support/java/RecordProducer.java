import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends the records that it reads from standard input, one a line, and prints "sent" for each:
 * topic, codec, value and headers (name=value, by commas), with tabs between; values in hex.
 */
public class RecordProducer {
  public static void main(String[] arguments) throws Exception {
    var producers = new HashMap<String, KafkaProducer<byte[], byte[]>>();
    var input = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = input.readLine()) != null; ) {
      String[] fields = line.split("\t", -1);
      var record =
          new ProducerRecord<>(fields[0], "key".getBytes(), HexFormat.of().parseHex(fields[2]));
      for (String header : fields[3].split(",")) {
        String[] pair = header.split("=", 2);
        record.headers().add(pair[0], HexFormat.of().parseHex(pair[1]));
      }
      producers
          .computeIfAbsent(fields[1], codec -> open(arguments[0], codec))
          .send(record)
          .get();
      System.out.println("sent");
    }
    producers.values().forEach(KafkaProducer::close);
  }

  private static KafkaProducer<byte[], byte[]> open(String brokers, String codec) {
    Map<String, Object> options =
        Map.of("bootstrap.servers", brokers, "compression.type", codec);
    return new KafkaProducer<>(options, new ByteArraySerializer(), new ByteArraySerializer());
  }
}
