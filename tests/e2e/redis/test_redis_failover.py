"""Planned failover of Redis: the old primary stays up as a replica, with all connections."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from redis import Redis

from tests.support.deployment import Deploy, Deployment
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.tcp_proxy import TcpProxy
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

LIMIT_S = 10.0
#: Maximum time from the failover to the last request that fails, in seconds.
RECOVERY_LIMIT_S = 1.5
#: Time for which requests are sent after the failover, in seconds.
OBSERVED_S = 5.0
SENDS_PER_KIND = 3


@dataclass
class Servers:
    """A primary, a replica of it, and an address whose new connections lead to one of them."""

    primary: EmbeddedRedis
    replica: EmbeddedRedis
    address: TcpProxy

    def fail_over(self, old_follows_port: int) -> None:
        """Promote the replica; the old primary becomes a replica and keeps its connections."""
        with Redis.from_url(self.replica.url) as new, Redis.from_url(self.primary.url) as old:
            new.execute_command("REPLICAOF", "NO", "ONE")
            self.address.target_port = self.replica.port
            old.execute_command("REPLICAOF", LOOPBACK, old_follows_port)


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        primary = stack.enter_context(EmbeddedRedis())
        replica = stack.enter_context(EmbeddedRedis())
        address = stack.enter_context(TcpProxy(primary.port))
        with Redis.from_url(replica.url) as client:
            client.execute_command("REPLICAOF", LOOPBACK, primary.port)
            assert wait_until(lambda: client.info()["master_link_status"] == "up", LIMIT_S)
        yield Servers(primary, replica, address)


@pytest.fixture
def deployment(deploy: Deploy, servers: Servers) -> Iterator[Deployment]:
    env = {
        "REDIS_URL": f"redis://{LOOPBACK}:{servers.address.port}/0",
        "RESPONDER_JOURNAL": "redis",
        "REPLY_DELIVERY": "store",
        "REPLY_TIMEOUT_S": "1",
        "WEB_CONCURRENCY": "1",
    }
    with deploy(env=env) as deployment:
        yield deployment


@pytest.mark.parametrize("old_is_in_sync", [True, False], ids=["in sync", "out of sync"])
def test_requests_succeed_again_within_a_second_or_two_of_a_failover(
    deployment: Deployment, servers: Servers, old_is_in_sync: bool
):
    """Out of sync, the old primary answers reads without an error, from data of before."""
    gateway = deployment.gateway

    def plain() -> int:
        return gateway.post("/echo", b"x").status

    def idempotent() -> int:
        return gateway.post("/echo", b"x", Idempotency_Key=secrets.token_hex(8)).status

    for send in (plain, idempotent):
        assert {send() for _ in range(SENDS_PER_KIND)} == {200}
    began_s = time.monotonic()
    servers.fail_over(servers.replica.port if old_is_in_sync else free_port())

    sent = statuses(began_s, plain, idempotent)

    failed_s = [at_s for at_s, status in sent if status != 200]
    assert max(failed_s, default=0) < RECOVERY_LIMIT_S, deployment.logs()
    assert len(sent) > 10 * len(failed_s)


def statuses(began_s: float, *sends: Callable[[], int]) -> list[tuple[float, int]]:
    """Send requests for OBSERVED_S; return the start of each since *began_s*, and its status."""
    found = []
    while (at_s := time.monotonic() - began_s) < OBSERVED_S:
        for send in sends:
            found.append((round(at_s, 2), send()))
    return found
