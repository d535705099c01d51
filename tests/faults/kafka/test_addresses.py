"""Brokers and Redis by IPv6, dead bootstrap brokers, and a broker whose address changes."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import Deployment
from tests.support.load import OWN, Load
from tests.support.report import RecordProperty
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server
from tools.devstack.tcp_proxy import TcpProxy

pytestmark = pytest.mark.faults

#: Addresses of HOST, one after the other.
FIRST, SECOND = "127.0.0.2", "127.0.0.3"
HOST = "broker.example"
MOVING_HOST = Path(__file__).parent / "moving_host"
REQUESTS = 200
#: Outcome of a response with the body of another request.
ANOTHERS = "another's"


@dataclass
class Broker:
    kafka: ApacheKafka
    ipv6_port: int
    target_port: int  # of the proxy that the broker advertises
    named_port: int  # of that proxy


@pytest.fixture(scope="module")
def broker(needs_apache: None) -> Iterator[Broker]:
    """A broker with a listener on IPv6, and one that is known by a host name."""
    ipv6_port, target_port, named_port = free_port(), free_port(), free_port()
    listeners = [
        Listener("V6", ipv6_port, host="[::1]"),
        Listener("NAMED", target_port, advertised_port=named_port, advertised_host=HOST),
    ]
    with ApacheKafka(listeners=listeners) as kafka:
        yield Broker(kafka, ipv6_port, target_port, named_port)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_servers_by_ipv6_with_dead_brokers_before_and_behind(
    broker: Broker, redis_server: Server, tmp_path: Path
):
    with TcpProxy(redis_server.port, host="::1") as redis:
        env = {
            "KAFKA_URL": f"kafka://{LOOPBACK}:1,kafka://[::1]:{broker.ipv6_port},kafka://[::1]:1",
            "REDIS_URL": f"redis://[::1]:{redis.port}/0",
            "PYTHONOPTIMIZE": "2",  # no assertions, no docstrings
        }
        with Deployment(broker.kafka, redis_server, tmp_path, env=env) as deployment:
            with Load([deployment.gateway], 8) as load:
                load.wait_for(REQUESTS)
            assert redis.connections > 0

    assert load.outcomes == {OWN: load.outcomes[OWN]}


def test_a_broker_is_found_at_its_new_address(
    broker: Broker,
    redis_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: RecordProperty,
):
    address = tmp_path / "address"
    address.write_text(FIRST)
    env = {
        "KAFKA_URL": f"kafka://{HOST}:{broker.named_port}",
        "PYTHONPATH": str(MOVING_HOST),
        "BROKER_HOST": HOST,
        "BROKER_ADDRESS_FILE": str(address),
    }
    monkeypatch.setattr(socket, "getaddrinfo", partial(resolved, address, socket.getaddrinfo))
    with ExitStack() as stack:

        def proxy_at(host: str) -> TcpProxy:
            return stack.enter_context(TcpProxy(broker.target_port, broker.named_port, host))

        first = proxy_at(FIRST)
        deployment = stack.enter_context(Deployment(broker.kafka, redis_server, tmp_path, env=env))
        with Load([deployment.gateway], 4) as load:
            load.wait_for(REQUESTS)
            before = Counter(load.outcomes)
            second = proxy_at(SECOND)
            address.write_text(SECOND)
            first.refuse()
            moved_s = time.monotonic()
            load.wait_for(1, 20)
            record_property("s until the first response", time.monotonic() - moved_s)
            load.wait_for(REQUESTS)
            assert second.connections > 0
    record_property("outcomes", dict(load.outcomes))

    assert before == {OWN: before[OWN]}
    assert ANOTHERS not in load.outcomes


def resolved(address: Path, resolve: Any, host: Any, *args: Any, **options: Any) -> Any:
    return resolve(address.read_text() if host == HOST else host, *args, **options)
