"""Network faults between gateway and Kafka: silence, refused and reset connections, delay."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.load import Load, post_echo
from tests.support.records import correlation_ids
from tests.support.report import RecordProperty
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server
from tools.devstack.tcp_proxy import TcpProxy
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 30.0
SLACK_S = 0.2
RECOVERY_S = 2.0


@pytest.fixture(scope="module")
def proxy() -> Iterator[TcpProxy]:
    with TcpProxy(free_port()) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def broker(needs_apache: None, proxy: TcpProxy) -> Iterator[ApacheKafka]:
    """A broker with a second listener that advertises *proxy*."""
    proxied = Listener("PROXIED", proxy.target_port, advertised_port=proxy.port)
    with ApacheKafka(listeners=[proxied]) as broker:
        yield broker


@pytest.fixture
def deployment(
    broker: ApacheKafka, proxy: TcpProxy, redis_server: Server, tmp_path: Path
) -> Iterator[Deployment]:
    """One gateway behind the proxy; the other processes reach the broker directly."""
    web = f"env KAFKA_URL=kafka://{LOOPBACK}:{proxy.port} gunicorn wsgi:app"
    with Deployment(broker, redis_server, tmp_path, web=web) as deployment:
        yield deployment
        proxy.heal()


FAULTS: dict[str, Callable[[TcpProxy], None]] = {
    "blackhole": lambda proxy: proxy.blackhole(),
    "refuse": lambda proxy: proxy.refuse(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_requests_fail_in_time_during_a_partition_and_succeed_soon_after(
    deployment: Deployment, proxy: TcpProxy, fault: str, record_property: RecordProperty
):
    timeout_s = deployment.settings.reply_timeout_s
    with Load([deployment.gateway], clients=8, rate=20, keep_alive=False) as load:
        assert wait_until(lambda: sum(a.is_own for a in list(load.attempts)) > 20, LIMIT_S)
        cut_s = time.monotonic()
        FAULTS[fault](proxy)
        time.sleep(2 * timeout_s)
        healed_s = time.monotonic()
        proxy.heal()
        assert wait_until(lambda: any(a.is_own for a in load.since(healed_s)), LIMIT_S)
        recovery_s = min(a.ended_s for a in load.since(healed_s) if a.is_own) - healed_s
        record_property(f"{fault}: seconds to the first answer", round(recovery_s, 2))
        assert wait_until(lambda: len(load.since(healed_s)) > 40, LIMIT_S)
        settled_s = healed_s + RECOVERY_S
        assert wait_until(lambda: len(load.since(settled_s)) > 40, LIMIT_S)
    during = [a for a in load.attempts if cut_s <= a.started_s < healed_s - timeout_s]

    assert during
    assert {a.status for a in during} == {503}
    assert {a.sent for a in during} <= {"no", "unknown"}
    assert max(a.ended_s - a.started_s for a in during) < timeout_s + SLACK_S
    assert recovery_s < RECOVERY_S
    assert [str(a) for a in load.since(settled_s) if not a.is_own] == []


def test_requests_succeed_over_a_slow_network(deployment: Deployment, proxy: TcpProxy):
    proxy.delay(0.2)
    attempts = [post_echo(deployment.gateway, b"%d" % n) for n in range(5)]

    assert [str(a) for a in attempts if not a.is_own] == []


def test_requests_succeed_while_connections_are_reset(deployment: Deployment, proxy: TcpProxy):
    attempts = []
    for n in range(10):
        proxy.reset()
        attempts.append(post_echo(deployment.gateway, b"%d" % n))

    assert [str(a) for a in attempts if not a.is_own] == []


def test_lost_acknowledgements_cause_no_duplicates_and_no_wrong_sent(
    deployment: Deployment, proxy: TcpProxy, record_property: RecordProperty
):
    with Load([deployment.gateway], clients=16, rate=60, keep_alive=False) as load:
        while len(load.attempts) < 300:
            proxy.blackhole(upstream=False)
            time.sleep(0.5)
            proxy.heal()  # resets the open connections
            time.sleep(0.7)
    appended = Counter(correlation_ids(deployment, "echo"))
    outcomes = Counter((a.status, a.sent) for a in load.attempts)
    record_property("outcomes", dict(outcomes))

    assert [str(a) for a in load.attempts if a.status == 200 and not a.has_own_body] == []
    assert [str(a) for a in load.attempts if a.status not in (200, 503)] == []
    assert [cid for cid, count in appended.items() if count > 1] == []
    for attempt in load.attempts:
        assert attempt.response is not None
        if attempt.sent in ("yes", "no"):
            is_appended = attempt.response.correlation_id in appended
            assert is_appended == (attempt.sent == "yes"), str(attempt)
