// rust-rdkafka (librdkafka): copies id and key of each request to its reply.
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord};
use std::time::Duration;

const TOPICS: [&str; 5] = ["rust.text", "rust.status", "rust.error", "rust.nothing", "rust.copy"];

fn main() {
    let brokers = std::env::var("BOOTSTRAP").expect("BOOTSTRAP");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers);
    let producer: BaseProducer = config.create().unwrap();
    let consumer: BaseConsumer = config.set("group.id", "rust").create().unwrap();
    consumer.subscribe(&TOPICS).unwrap();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(request)) => reply_to(&request, &producer),
            Some(Err(error)) => eprintln!("{error}"),
            None => {}
        }
        producer.poll(Duration::ZERO);
    }
}

fn reply_to(request: &BorrowedMessage, producer: &BaseProducer) {
    let mut topic = "";
    let mut headers = OwnedHeaders::new();
    for header in request.headers().unwrap().iter() {
        if header.key == "reply-topic" {
            topic = std::str::from_utf8(header.value.unwrap()).unwrap();
        }
        // To copy every header is harmless.
        if header.key == "correlation-id" || request.topic() == "rust.copy" {
            headers = headers.insert(header);
        }
    }
    let set = |name, value| Header { key: name, value: Some(value) };
    headers = headers.insert(set("content-type", "text/plain"));
    match request.topic() {
        "rust.status" => headers = headers.insert(set("status", "201")),
        "rust.error" => headers = headers.insert(set("status", "422")),
        _ => {}
    }
    let body = String::from_utf8_lossy(request.payload().unwrap_or_default()).to_uppercase();
    let mut reply = BaseRecord::to(topic).key(request.key().unwrap_or_default()).headers(headers);
    if request.topic() != "rust.nothing" {
        reply = reply.payload(&body);
    }
    if let Err((error, _)) = producer.send(reply) {
        eprintln!("{error}");
    }
}
