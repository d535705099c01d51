package interop;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.core.ConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.DefaultErrorHandler;
import org.springframework.kafka.listener.KafkaListenerErrorHandler;
import org.springframework.kafka.support.KafkaHeaders;
import org.springframework.kafka.support.converter.StringJacksonJsonMessageConverter;
import org.springframework.kafka.support.serializer.ErrorHandlingDeserializer;
import org.springframework.kafka.support.serializer.JacksonJsonDeserializer;
import org.springframework.kafka.support.serializer.JacksonJsonSerializer;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.util.backoff.FixedBackOff;

/** Container factories and error handlers, as the documentation has them. */
@Configuration
public class Factories {
    @Bean
    KafkaListenerErrorHandler failsAsText() {
        return (message, exception) -> "FAILED: " + exception.getCause().getMessage();
    }

    @Bean
    KafkaListenerErrorHandler failsAsMessage() {
        return (message, exception) -> MessageBuilder.withPayload("no stock").setHeader("status", 422).build();
    }

    @Bean
    KafkaListenerErrorHandler failsWithHeader() {
        return (message, exception) -> MessageBuilder.withPayload("")
                .setHeader("serverSentAnError", exception.getCause().getMessage()).build();
    }

    /** Publishes a record whose attempts are exhausted to its reply topic. */
    @Bean
    ConcurrentKafkaListenerContainerFactory<Object, Object> dltFactory(ConsumerFactory<Object, Object> consumers,
            ProducerFactory<Object, Object> producers) {
        KafkaTemplate<Object, Object> template = new KafkaTemplate<>(producers);
        var recoverer = new DeadLetterPublishingRecoverer(template, (record, exception) -> new TopicPartition(
                new String(record.headers().lastHeader(KafkaHeaders.REPLY_TOPIC).value(), StandardCharsets.UTF_8), -1));
        var factory = new ConcurrentKafkaListenerContainerFactory<Object, Object>();
        factory.setConsumerFactory(consumers);
        factory.setReplyTemplate(template);
        factory.setCommonErrorHandler(new DefaultErrorHandler(recoverer, new FixedBackOff(0, 1)));
        return factory;
    }

    /** Without an ErrorHandlingDeserializer: a body that is no JSON would stop the listener. */
    @Bean
    ConcurrentKafkaListenerContainerFactory<Object, Object> jsonFactory(ConsumerFactory<Object, Object> consumers,
            ProducerFactory<Object, Object> producers) {
        Map<String, Object> in = new HashMap<>(consumers.getConfigurationProperties());
        in.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, JacksonJsonDeserializer.class);
        in.put(JacksonJsonDeserializer.VALUE_DEFAULT_TYPE, Responder.Greeting.class);
        return factory(in, jsonTemplate(producers));
    }

    @Bean
    ConcurrentKafkaListenerContainerFactory<Object, Object> stringToJsonFactory(ConsumerFactory<Object, Object> consumers,
            ProducerFactory<Object, Object> producers) {
        return factory(new HashMap<>(consumers.getConfigurationProperties()), jsonTemplate(producers));
    }

    @Bean
    ConcurrentKafkaListenerContainerFactory<Object, Object> typedFactory(ConsumerFactory<Object, Object> consumers,
            ProducerFactory<Object, Object> producers) {
        Map<String, Object> in = new HashMap<>(consumers.getConfigurationProperties());
        in.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ErrorHandlingDeserializer.class);
        in.put(ErrorHandlingDeserializer.VALUE_DESERIALIZER_CLASS, JacksonJsonDeserializer.class);
        in.put(JacksonJsonDeserializer.TRUSTED_PACKAGES, "interop");
        return factory(in, jsonTemplate(producers));
    }

    /** String records, and the converter that the documentation advises for listeners of one type each. */
    @Bean
    ConcurrentKafkaListenerContainerFactory<Object, Object> converterFactory(ConsumerFactory<Object, Object> consumers,
            ProducerFactory<Object, Object> producers) {
        KafkaTemplate<Object, Object> template = new KafkaTemplate<>(producers);
        template.setMessageConverter(new StringJacksonJsonMessageConverter());
        var factory = factory(new HashMap<>(consumers.getConfigurationProperties()), template);
        factory.setRecordMessageConverter(new StringJacksonJsonMessageConverter());
        return factory;
    }

    @Bean
    ConcurrentKafkaListenerContainerFactory<Object, Object> bytesFactory(ConsumerFactory<Object, Object> consumers,
            ProducerFactory<Object, Object> producers) {
        Map<String, Object> in = new HashMap<>(consumers.getConfigurationProperties());
        in.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        Map<String, Object> out = new HashMap<>(producers.getConfigurationProperties());
        out.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
        return factory(in, new KafkaTemplate<>(new DefaultKafkaProducerFactory<>(out)));
    }

    @Bean
    ConcurrentKafkaListenerContainerFactory<Object, Object> intKeyFactory(ConsumerFactory<Object, Object> consumers,
            ProducerFactory<Object, Object> producers) {
        Map<String, Object> in = new HashMap<>(consumers.getConfigurationProperties());
        in.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ErrorHandlingDeserializer.class);
        in.put(ErrorHandlingDeserializer.KEY_DESERIALIZER_CLASS, IntegerDeserializer.class);
        return factory(in, new KafkaTemplate<>(producers));
    }

    private static KafkaTemplate<Object, Object> jsonTemplate(ProducerFactory<Object, Object> producers) {
        Map<String, Object> out = new HashMap<>(producers.getConfigurationProperties());
        out.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, JacksonJsonSerializer.class);
        return new KafkaTemplate<>(new DefaultKafkaProducerFactory<>(out));
    }

    private static ConcurrentKafkaListenerContainerFactory<Object, Object> factory(Map<String, Object> in,
            KafkaTemplate<Object, Object> template) {
        var factory = new ConcurrentKafkaListenerContainerFactory<Object, Object>();
        factory.setConsumerFactory(new DefaultKafkaConsumerFactory<>(in));
        factory.setReplyTemplate(template);
        return factory;
    }
}
