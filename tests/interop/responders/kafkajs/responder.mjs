import { Kafka } from 'kafkajs';

const kafka = new Kafka({ clientId: 'kafkajs', brokers: [process.env.BOOTSTRAP] });
const consumer = kafka.consumer({ groupId: 'kafkajs' });
const producer = kafka.producer();
await Promise.all([consumer.connect(), producer.connect()]);
await consumer.subscribe({ topics: ['text', 'status', 'error', 'nothing'].map((name) => `kafkajs.${name}`) });
await consumer.run({
  eachMessage: async ({ topic, message }) => {
    const headers = { 'correlation-id': message.headers['correlation-id'], 'content-type': 'text/plain' };
    const reply = { key: message.key, value: message.value.toString().toUpperCase(), headers };
    if (topic === 'kafkajs.status') headers.status = '201';
    if (topic === 'kafkajs.error') headers.status = '422';
    if (topic === 'kafkajs.nothing') reply.value = null;
    await producer.send({ topic: message.headers['reply-topic'].toString(), messages: [reply] });
  },
});
