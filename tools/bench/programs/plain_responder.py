"""
What the responder is compared with: kafka-python's own loop, which echoes and handles no failure.

    python -m tools.bench.programs.plain_responder BROKER TOPIC GROUP

No deadlines, no handlers, no threads of its own; offsets are committed automatically.
"""

import signal
import sys

from kafka import KafkaConsumer, KafkaProducer

from tools.bench.programs.counters import Counters


def main() -> None:
    """Echo until SIGTERM, then print the counts."""
    broker, topic, group = sys.argv[1:]
    counters = Counters()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=broker, group_id=group, auto_offset_reset="earliest"
    )
    producer = KafkaProducer(bootstrap_servers=broker)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        while True:
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    headers = dict(record.headers)
                    producer.send(
                        headers["reply-topic"].decode(),
                        value=record.value,
                        key=record.key,
                        headers=[("correlation-id", headers["correlation-id"])],
                    )
    finally:
        producer.flush(timeout=10)
        counters.print()


if __name__ == "__main__":
    main()
