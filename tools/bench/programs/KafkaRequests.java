import java.util.Map;
import java.util.TreeMap;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** Prints the number of requests of each kind that a broker has received, for each line of input: java KafkaRequests.java JMX_PORT. */
public class KafkaRequests {
    public static void main(String[] arguments) throws Exception {
        var url = new JMXServiceURL("service:jmx:rmi:///jndi/rmi://127.0.0.1:" + arguments[0] + "/jmxrmi");
        MBeanServerConnection broker = JMXConnectorFactory.connect(url).getMBeanServerConnection();
        var names = new ObjectName("kafka.network:type=RequestMetrics,name=RequestsPerSec,*");
        while (System.in.read() == '\n') {
            Map<String, Long> counts = new TreeMap<>();
            // A kind has a bean for each version of its protocol.
            for (ObjectName name : broker.queryNames(names, null)) {
                counts.merge(name.getKeyProperty("request"), (Long) broker.getAttribute(name, "Count"), Long::sum);
            }
            var line = new StringBuilder("COUNTS");
            counts.forEach((kind, count) -> line.append(' ').append(kind).append('=').append(count));
            System.out.println(line);
            System.out.flush();
        }
    }
}
