import 'reflect-metadata';
import { setTimeout } from 'node:timers/promises';
import { ClientKafka } from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom, timeout } from 'rxjs';

/** ClientKafka.send, of which the first or the last value is taken, as a controller of Nest does. */
const client = new ClientKafka({
  client: { clientId: 'nestjs', brokers: [process.env.BOOTSTRAP!], logLevel: 0 },
  consumer: { groupId: 'nestjs' },
});
for (const topic of ['echo', 'orders']) client.subscribeToResponseOf(topic);
await client.connect();
// A new group reads from the end: a reply that comes before its first fetch would be skipped.
await setTimeout(5_000);

async function call(name: string, topic: string, data: object, take: typeof firstValueFrom) {
  let outcome = 'reply';
  let text = '';
  try {
    text = JSON.stringify(await take(client.send(topic, data).pipe(timeout(10_000))));
  } catch (error) {
    outcome = 'error';
    text = error instanceof Error ? String(error) : JSON.stringify(error);
  }
  console.log(`call\t${name}\t${outcome}\t${text}`);
}
await call('first value', 'echo', { a: 1 }, firstValueFrom);
await call('last value', 'echo', { a: 1 }, lastValueFrom as typeof firstValueFrom);
await call('order', 'orders', { item: 'tea', quantity: 2 }, firstValueFrom);
await call('order refused', 'orders', { item: '' }, firstValueFrom);
await call('handler fails', 'orders', { item: 'bomb' }, firstValueFrom);
await client.close();
process.exit(0);
