// An echo responder of NestJS, as its documentation shows it, without the syntax of TypeScript.
// NODE_PATH=.../node_modules BOOTSTRAP=host:port TOPIC=... GROUP=... node nest_responder.js
require('reflect-metadata');
const { Controller, Module } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');
const { MessagePattern, Payload, Transport } = require('@nestjs/microservices');

class Responder {
  echo(value) {
    return value;
  }
}
const echo = Object.getOwnPropertyDescriptor(Responder.prototype, 'echo');
MessagePattern(process.env.TOPIC)(Responder.prototype, 'echo', echo);
Payload()(Responder.prototype, 'echo', 0);
Controller()(Responder);

class App {}
Module({ controllers: [Responder] })(App);

(async () => {
  const app = await NestFactory.createMicroservice(App, {
    transport: Transport.KAFKA,
    options: {
      client: { brokers: [process.env.BOOTSTRAP] },
      consumer: { groupId: process.env.GROUP },
    },
  });
  app.enableShutdownHooks();
  await app.listen();
})();
