"""Two gateways behind haproxy: no request fails in a rolling deploy, and outages are explained."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.brokers import on_apache_kafka, on_embedded_broker
from tests.support.deployment import NO_REDIS_ENV, NO_REPLIES, Deploy, Deployment, Gateway
from tests.support.load import OWN, Load
from tests.support.report import RecordProperty
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.procfile import start_process
from tools.devstack.waiting import wait_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

ROUNDS = 2
STOP_LIMIT_S = 20.0
#: Time in which haproxy finds out: two checks, 0.2 s apart.
CHECKED_S = 1.0
#: haproxy's "timeout connect": such a latency means a connection attempt to a stopped gateway.
CONNECT_LIMIT_S = 2.0
SLOW_ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": 1}).encode()
EXAMPLE = Path("deploy/haproxy.cfg")


@contextmanager
def haproxy(gateways: list[Gateway], folder: Path) -> Iterator[Gateway]:
    """Run haproxy as in the example in front of *gateways*; yield it as if it were one of them."""
    port = free_port()
    addresses = {
        ":80": f"{LOOPBACK}:{port}",
        "10.0.0.1:8000": f"{LOOPBACK}:{gateways[0].port}",
        "10.0.0.2:8000": f"{LOOPBACK}:{gateways[1].port}",
    }
    example = EXAMPLE.read_text(encoding="utf-8")
    for named, given in addresses.items():
        example = example.replace(f" {named}\n", f" {given}\n")
    file = folder / "haproxy.cfg"
    file.write_text(example)
    log = folder / "haproxy.log"
    child = start_process(f"haproxy -db -f {file}", {}, log)
    front = Gateway("haproxy", child, log, port)
    try:
        assert wait_until(lambda: front.responds(), 10), front.logged()
        yield front
    finally:
        child.stop()


#: Supervisors signal the process group, or the main process alone.
STOPS: list[Callable[[Gateway], None]] = [
    lambda gateway: gateway.child.terminate(),
    lambda gateway: os.kill(gateway.child.pid, signal.SIGTERM),
]


def replace(deployment: Deployment, gateway: Gateway, stop: Callable[[Gateway], None]) -> Gateway:
    """Stop *gateway* and return its successor on the same port, ready."""
    stop(gateway)
    assert gateway.child.wait(STOP_LIMIT_S) == 0
    successor = deployment.start_gateway(PORT=str(gateway.port))
    assert wait_until(lambda: successor.responds("/readyz"), 30), successor.logged()
    return successor


@on_apache_kafka
@pytest.mark.parametrize("redis", [True, False], ids=["redis", "no-redis"])
def test_no_request_fails_during_a_rolling_deploy(
    deploy: Deploy, tmp_path: Path, record_property: RecordProperty, redis: bool
):
    env = {"DRAIN_DELAY_S": "2", "REPLY_TIMEOUT_S": "10", "WEB_CONCURRENCY": "1"}
    env |= {} if redis else NO_REDIS_ENV
    replies = 1 if redis else NO_REPLIES
    with deploy(gateways=2, replies=replies, env=env) as deployment:
        gateways = deployment.all_gateways
        with (
            haproxy(gateways, tmp_path) as front,
            ThreadPoolExecutor(1) as slow_client,
            Load([front], clients=4) as kept_alive,
            Load([front], clients=4, rate=80, keep_alive=False) as fresh,
        ):
            done = False

            def order_until_done() -> Counter[int]:
                statuses: Counter[int] = Counter()
                while not done:
                    statuses[front.post("/orders", SLOW_ORDER).status] += 1
                return statuses

            slow = slow_client.submit(order_until_done)
            try:
                for round_ in range(ROUNDS):
                    for n, gateway in enumerate(gateways):
                        kept_alive.wait_for(100)
                        gateways[n] = replace(deployment, gateway, STOPS[round_])
                kept_alive.wait_for(100)
            finally:
                done = True
        failed = Counter(str(each) for each in fresh.attempts if not each.is_own)
        record_property("kept alive", kept_alive.summary())
        record_property("fresh", f"{len(fresh.attempts)} requests, {sum(failed.values())} failed")
        record_property("slow", dict(slow.result()))

        assert set(kept_alive.outcomes) == {OWN}
        assert kept_alive.slowest_s < CONNECT_LIMIT_S
        assert not failed
        assert set(slow.result()) == {201}


@on_embedded_broker
def test_clients_read_what_is_down_when_no_gateway_is_ready(deploy: Deploy, tmp_path: Path):
    env = {"DRAIN_DELAY_S": "2", "WEB_CONCURRENCY": "1", "REPLY_DELIVERY": "store"}
    with (
        deploy(gateways=2, env=env) as deployment,
        haproxy(deployment.all_gateways, tmp_path) as front,
    ):
        assert wait_until(lambda: front.post("/echo", b"x").status == 200, 10)
        deployment.redis.pause()
        try:
            assert wait_until(lambda: front.get("/readyz").status == 503, 10)
            time.sleep(CHECKED_S)
            refused = front.post("/echo", b"x")
        finally:
            deployment.redis.resume()
        assert wait_until(lambda: front.post("/echo", b"x").status == 200, 10)

    assert refused.status == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json["type"] == "/problems/reply-store-unavailable"
    assert refused.json["sent"] == "no"


@on_embedded_broker
def test_haproxy_answers_itself_when_no_gateway_lives(deploy: Deploy, tmp_path: Path):
    with (
        deploy(gateways=2, env={"WEB_CONCURRENCY": "1"}) as deployment,
        haproxy(deployment.all_gateways, tmp_path) as front,
    ):
        for gateway in deployment.all_gateways:
            gateway.child.stop(STOP_LIMIT_S)
        time.sleep(CHECKED_S)
        refused = front.post("/echo", b"x")

    assert refused.status == 503
    assert b"No server is available" in refused.body
