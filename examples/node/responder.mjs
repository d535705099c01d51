// kafkajs: copies id and key of each request to its reply.
import { Kafka } from 'kafkajs';

const kafka = new Kafka({ clientId: 'node', brokers: [process.env.BOOTSTRAP] });
const consumer = kafka.consumer({ groupId: 'node' });
const producer = kafka.producer();
await Promise.all([consumer.connect(), producer.connect()]);
const topics = ['node.text', 'node.status', 'node.error', 'node.nothing', 'node.copy'];
await consumer.subscribe({ topics });
await consumer.run({
  eachMessage: async ({ topic, message }) => {
    const headers = { 'correlation-id': message.headers['correlation-id'], 'content-type': 'text/plain' };
    const reply = { key: message.key, value: message.value.toString().toUpperCase(), headers };
    if (topic === 'node.status') headers.status = '201';
    if (topic === 'node.error') headers.status = '422';
    if (topic === 'node.nothing') reply.value = null;
    // To copy every header is harmless.
    if (topic === 'node.copy') reply.headers = { ...message.headers, ...headers };
    await producer.send({ topic: message.headers['reply-topic'].toString(), messages: [reply] });
  },
});
