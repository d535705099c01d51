import 'reflect-metadata';
import { Controller, Module, NotFoundException } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, KafkaContext, KafkaRetriableException, MessagePattern, Payload, RpcException, Transport } from '@nestjs/microservices';
import { concat, EMPTY, interval, map, Observable, of, take, throwError } from 'rxjs';

const failedOnce = new Set<string>();

@Controller()
class Responder {
  @MessagePattern('nestjs.object') object(@Payload() message: any) { return { hello: message?.name, items: [1, 2] }; }
  @MessagePattern('nestjs.array') array() { return [{ id: 1 }, { id: 2 }]; }
  @MessagePattern('nestjs.string') string(@Payload() message: any) { return `hello ${message}`; }
  @MessagePattern('nestjs.number') number() { return 42; }
  @MessagePattern('nestjs.boolean') boolean() { return false; }
  @MessagePattern('nestjs.null') nothing(): any { return null; }
  @MessagePattern('nestjs.undefined') undefined(): void {}
  @MessagePattern('nestjs.emptystring') emptyString() { return ''; }
  @MessagePattern('nestjs.buffer') buffer() { return Buffer.from([0, 1, 254, 255]); }
  @MessagePattern('nestjs.promise') async promise() { return { async: true }; }
  @MessagePattern('nestjs.of') of(): Observable<number> { return of(1, 2, 3); }
  @MessagePattern('nestjs.interval') interval(): Observable<any> { return interval(100).pipe(take(3), map(n => ({ n }))); }
  @MessagePattern('nestjs.empty') empty(): Observable<any> { return EMPTY; }
  @MessagePattern('nestjs.thenfails') thenFails(): Observable<any> {
    return concat(of({ part: 1 }), throwError(() => new RpcException('second part is missing')));
  }
  @MessagePattern('nestjs.message') message() {
    return { headers: { status: '201', 'content-type': 'application/json', 'x-realm': 'Nest', kafka_nestRealm: 'Nest' }, key: 'hero-1', value: { id: 1 } };
  }
  @MessagePattern('nestjs.rpcexception') rpcException() { throw new RpcException('Invalid credentials.'); }
  @MessagePattern('nestjs.rpcexceptionobject') rpcExceptionObject() { throw new RpcException({ statusCode: 404, message: 'no such hero' }); }
  @MessagePattern('nestjs.error') error() { throw new Error('a secret detail'); }
  @MessagePattern('nestjs.httpexception') httpException() { throw new NotFoundException('no such hero'); }
  @MessagePattern('nestjs.retriable') retriable(@Ctx() context: KafkaContext) {
    const id = String(context.getMessage().headers!['kafka_correlationId']);
    if (!failedOnce.has(id)) { failedOnce.add(id); throw new KafkaRetriableException('not yet'); }
    return 'at the second delivery';
  }
  @MessagePattern('nestjs.typed') typed(@Payload() message: any) {
    return { type: message === null ? 'null' : Buffer.isBuffer(message) ? 'Buffer' : typeof message, got: message };
  }
  @MessagePattern('nestjs.context') context(@Ctx() context: KafkaContext) {
    const { headers, key } = context.getMessage();
    return { seenKey: key, seenHeaders: headers };
  }
}

@Module({ controllers: [Responder] })
class AppModule {}

const app = await NestFactory.createMicroservice(AppModule, {
  transport: Transport.KAFKA,
  options: { client: { clientId: 'nestjs-cases', brokers: [process.env.BOOTSTRAP!] }, consumer: { groupId: 'nestjs-cases' } },
});
app.enableShutdownHooks();
await app.listen();
