import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MessagePattern, Payload, RpcException, Transport } from '@nestjs/microservices';

@Controller()
class Responder {
  @MessagePattern('nestjs.text') text(@Payload() message: string) {
    return message.toUpperCase();
  }

  @MessagePattern('nestjs.status') status(@Payload() message: string) {
    return {
      headers: { status: '201', 'content-type': 'text/plain' },
      value: message.toUpperCase(),
    };
  }

  @MessagePattern('nestjs.error') error() {
    throw new RpcException({ statusCode: 422, message: 'out of stock' });
  }

  @MessagePattern('nestjs.nothing') nothing() {}
}

@Module({ controllers: [Responder] })
class AppModule {}

const app = await NestFactory.createMicroservice(AppModule, {
  transport: Transport.KAFKA,
  options: {
    client: { clientId: 'nestjs', brokers: [process.env.BOOTSTRAP!] },
    consumer: { groupId: 'nestjs' },
  },
});
app.enableShutdownHooks();
await app.listen();
