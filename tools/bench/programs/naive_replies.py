"""The replies process of the naive gateway: one SET per reply."""

import os

from kafka import KafkaConsumer
from redis import Redis

TTL_S = 60


def main() -> None:
    """Run until killed."""
    redis = Redis.from_url(os.environ["REDIS_URL"])
    consumer = KafkaConsumer(
        os.environ["NAIVE_REPLIES"],
        bootstrap_servers=os.environ["KAFKA_URL"].removeprefix("kafka://"),
        group_id=os.environ["NAIVE_GROUP"],
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
    )
    while True:
        # Short, because kafka-python may overlook a fetch, which is not the baseline's fault. Long
        # until partitions are assigned: with short polls it never finds its coordinator.
        timeout_ms = 4 if consumer.assignment() else 500
        for records in consumer.poll(timeout_ms=timeout_ms).values():
            for record in records:
                correlation_id = dict(record.headers)["correlation-id"].decode()
                redis.set(f"naive:{correlation_id}", record.value, ex=TTL_S)


if __name__ == "__main__":
    main()
