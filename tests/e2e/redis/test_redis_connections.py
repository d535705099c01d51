"""A Redis that allows few connections, as small plans do."""

import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from tests.support.api_clients import ApiClient, keys_table
from tests.support.deployment import Deployment, Gateway
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

#: A small plan; one of its connections counts the others.
ALLOWED = 20
#: Two gateways with two workers, two replies, two responders.
PROCESSES, PER_PROCESS = 8, 2
REQUESTS, CONNECTIONS = 600, 48
CLIENT = ApiClient("metered")


@pytest.fixture
def deployment(kafka: Server, tmp_path: Path) -> Iterator[Deployment]:
    env = {
        "REDIS_MAX_CONNECTIONS": str(PER_PROCESS),
        "RESPONDER_JOURNAL": "redis",
        "API_KEYS": keys_table(CLIENT, metered=f'rate = "{10 * REQUESTS}/min"\n'),
    }
    with EmbeddedRedis() as server:
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxclients", ALLOWED)
        with Deployment(kafka, server, tmp_path, 2, 2, 2, env=env, key=CLIENT.key) as deployment:
            yield deployment


def test_a_bound_of_connections_is_kept_under_load_without_an_error(deployment: Deployment):
    with Redis.from_url(deployment.redis.url) as observer, Counted(observer) as counts:
        statuses = send_keyed(deployment.all_gateways)
        refused = observer.info("stats")["rejected_connections"]

    assert statuses == {200: REQUESTS}, deployment.logs()
    assert refused == 0
    # All of them were in use, and one is that of the observer.
    assert PROCESSES < max(counts) - 1 <= PROCESSES * PER_PROCESS


class Counted:
    """Counts the connections to a Redis, again and again, for the block."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._end = threading.Event()
        self._counts: list[int] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> list[int]:
        self._thread.start()
        return self._counts

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.05):
            self._counts.append(len(self._redis.client_list()))


def send_keyed(gateways: list[Gateway]) -> Counter[int]:
    """Send requests that need Redis for their key, their rate and their replay."""

    def send(number: int) -> int:
        gateway = gateways[number % len(gateways)]
        headers = CLIENT.authorization | {"Idempotency-Key": secrets.token_hex(8)}
        return gateway.request("POST", "/echo", b"x", headers).status

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return Counter(pool.map(send, range(REQUESTS)))
