"""
Operations per request, counted instead of timed.

A change that sends a produce request, polls Redis or starts a thread for every request fails here,
on a machine of any speed.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from kafka import KafkaProducer
from redis import Redis

from gateway.exchange.publisher import RequestPublisher
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.poller import Poller
from rendezvous.contract import Reply, Request
from rendezvous.correlation import CorrelationIds, epoch_ms
from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.kafka_client.consuming.opening import consumer_options
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from rendezvous.kafka_client.patches.producer import PatchedProducer
from rendezvous.kafka_client.producer import RequestProducer
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.replies import ReplyStore
from tests.support.deployment import Deploy
from tests.support.load import OWN, Load
from tools.devstack.kafka.topics import create_topics
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

CLIENTS = 32
REQUESTS = 600
RECORDS = 400
#: Longer than one send takes on a slow machine, so that records are batched.
LINGER_MS = 200.0
#: Redis commands of a poll, and of storing a reply.
POLL, STORE = "cmdstat_mget", "cmdstat_set"


def commands(redis: Redis) -> Counter[str]:
    """Return the number of calls of each command."""
    stats: Any = redis.info("commandstats")
    return Counter({name: stat["calls"] for name, stat in stats.items()})


def threads_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("Threads:")[2].split()[0])


@pytest.fixture
def redis(redis_server: Server) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as found:
        yield found


@pytest.fixture
def ids() -> CorrelationIds:
    return CorrelationIds("a secret of these tests")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("delivery", "polls"), [("direct", 0.1), ("store", 1.0)])
def test_concurrent_requests_share_polls_and_a_replies_process_with_few_threads(
    deploy: Deploy, redis: Redis, delivery: str, polls: float
):
    with deploy(env={"WEB_CONCURRENCY": "1", "REPLY_DELIVERY": delivery}) as deployment:
        before = commands(redis)
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        assert wait_until(lambda: (commands(redis) - before)[STORE] >= load.outcomes[OWN], 10)
        used = commands(redis) - before
        threads = threads_of(deployment.named("replies")[0].child.pid)

    done = load.outcomes[OWN]
    assert load.outcomes == {OWN: done}
    # The heartbeat every two seconds is a SET as well.
    assert done <= used[STORE] < done * 1.2
    # Polling for each request separately would take at least two polls per request.
    assert used[POLL] < done * polls
    # The consumer, its watchdog, and a writer for each of standard output and error.
    assert threads <= 4


@pytest.mark.parametrize(("delivery", "polls"), [("direct", 0.2), ("store", 4.0)])
def test_a_single_pending_request_is_polled_for_only_if_its_reply_comes_through_redis(
    deploy: Deploy, redis: Redis, delivery: str, polls: float
):
    with deploy(env={"WEB_CONCURRENCY": "1", "REPLY_DELIVERY": delivery}) as deployment:
        with Load([deployment.gateway], 1) as load:
            load.wait_for(20)
        before = commands(redis)
        with Load([deployment.gateway], 1) as load:
            load.wait_for(REQUESTS // 4)
        used = commands(redis) - before

    done = load.outcomes[OWN]
    assert load.outcomes == {OWN: done}
    # The readiness check polls too.
    assert used[POLL] < done * polls


def test_concurrent_records_are_published_in_batches(kafka: Server, ids: CorrelationIds):
    topic = f"counts-{token_hex(4)}"
    connection = {"bootstrap_servers": [kafka.address]}
    create_topics(connection, [topic])
    producers: list[Any] = []

    def new_kafka(**options: Any) -> Any:
        producers.append(PatchedProducer(**(options | {"metrics_enabled": True})))
        return producers[-1]

    publisher = RequestPublisher(
        connection,
        20.0,
        1_000,
        [topic],
        linger_ms=lambda: LINGER_MS,
        open_producer=partial(RequestProducer.open, new_kafka=new_kafka),
    )
    publisher.start()
    publisher.await_broker(30)

    def publish() -> Any:
        cid = ids.issue("0a1b2c3d", epoch_ms() + 20_000)
        request = Request(cid, topic, "replies", epoch_ms() + 20_000, b"x" * 200)
        return publisher.publish(request, 10, lambda refused: None)

    # The first record waits for the producer id; the next ones would queue behind it.
    publish().wait(20)
    published = []
    for _ in range(RECORDS):
        published.append(publish())
        time.sleep(0.001)
    for publication in published:
        publication.wait(20)
    per_request = producers[0].metrics()["producer-metrics"]["records-per-request-avg"]
    publisher.close()

    assert all(publication.acknowledged for publication in published)
    assert per_request > 8


def test_a_poll_for_hundreds_of_pending_requests_is_one_command(
    redis_server: Server, redis: Redis, ids: CorrelationIds
):
    waiting = 300
    client = open_redis(redis_server.url)
    store = ReplyStore(client, 60)
    commands_before = commands(redis)[POLL]
    polls: list[int] = []
    fetch = store.fetch_available

    def counted(correlation_ids: Sequence[str]) -> tuple[dict[str, Reply], dict[str, Any]]:
        found = fetch(correlation_ids)
        polls.append(len(correlation_ids))
        return found

    store.fetch_available = counted  # type: ignore[method-assign]
    mailbox = Mailbox()
    poller = Poller(store, mailbox)
    poller.start()
    with ExitStack() as waiters:
        for _ in range(waiting):
            waiters.enter_context(mailbox.waiting_for(ids.issue(mailbox.node, epoch_ms() + 30_000)))
        # One more: the id that tells whether the own shard of a cluster answers.
        assert wait_until(lambda: polls.count(waiting + 1) >= 5, 20)
        poller.close()
        used = commands(redis)[POLL]
    seen = len(polls)
    client.close()

    assert used - commands_before <= seen


def test_a_consumer_has_no_thread_beside_the_polling_one(kafka: Server):
    topic = f"counts-{token_hex(4)}"
    connection = {"bootstrap_servers": [kafka.address]}
    create_topics(connection, [topic], 1)
    others = {thread.name for thread in threading.enumerate()}
    options = consumer_options(connection, f"group-{topic}", 5, "counts")
    consumer = ResilientConsumer.open([topic], lambda: PatchedConsumer(**options))
    producer = KafkaProducer(**connection)
    producer.send(topic, b"x").get(10)
    producer.close()
    found: list[Any] = []

    def has_arrived() -> bool:
        found.extend(record.value for records in consumer.poll().values() for record in records)
        return bool(found)

    assert wait_until(has_arrived, 30)
    names = {thread.name for thread in threading.enumerate()} - others
    consumer.close()

    assert found == [b"x"]
    assert not [name for name in names if name.startswith("kafka-io")]
