"""A dead responder affects only its own topic."""

import http.client
import random
import threading
import time
from dataclasses import dataclass, field

import pytest

from settings import RESERVED_THREADS
from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deploy, Response, exchange
from tests.support.report import RecordProperty
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.faults, on_embedded_broker]

CAP = 10
DEAD_CLIENTS = 5 * CAP
HEALTHY_CLIENTS = 4
TIMEOUT_S = 3.0
#: How long a request may wait for a slot before it is rejected, in seconds.
QUEUE_S = 0.25 * TIMEOUT_S
ALONE_S = 10.0
DEAD_S = 30.0
#: Mean pause of a client between requests; Retry-After asks for 1 to 3 s.
REJECTED_PAUSE_S = 1.0
#: Low enough a rate to leave the CPU idle, so that slots are the scarce resource.
HEALTHY_PAUSE_S = 0.02
ROUTES = """
[[route]]
path = "/echo"
topic = "echo"

[[route]]
path = "/dead"
topic = "dead"
"""


@dataclass
class Client:
    """Sends sequential requests over one connection until *stop* is set."""

    port: int
    path: str
    pause_s: float
    stop: threading.Event
    responses: list[tuple[float, Response]] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        try:
            while not self.stop.is_set():
                response = exchange(connection, "POST", self.path, b"x")
                self.responses.append((time.monotonic(), response))
                # Random, so that clients do not synchronise.
                self.stop.wait(self.pause_s * random.uniform(0.5, 1.5))
        finally:
            connection.close()


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def test_a_dead_responder_delays_neither_the_healthy_topic_nor_the_probes(
    deploy: Deploy, record_property: RecordProperty
):
    env = {
        "WEB_CONCURRENCY": "1",
        "THREADS": str(CAP + RESERVED_THREADS),
        "REPLY_TIMEOUT_S": str(TIMEOUT_S),
    }
    with deploy(env=env, topics=("dead",)) as deployment:
        file = deployment.folder / "routes.toml"
        file.write_text(ROUTES)
        gateway = deployment.start_gateway(ROUTES_FILE=str(file))
        deployment.processes.remove(gateway)
        deployment.processes.insert(0, gateway)
        assert wait_until(lambda: echo_works(gateway.port), 30)

        healthy_stop, dead_stop = threading.Event(), threading.Event()
        healthy = [
            Client(gateway.port, "/echo", HEALTHY_PAUSE_S, healthy_stop)
            for _ in range(HEALTHY_CLIENTS)
        ]
        dead = [
            Client(gateway.port, "/dead", REJECTED_PAUSE_S, dead_stop) for _ in range(DEAD_CLIENTS)
        ]
        healthy_threads = [threading.Thread(target=client.run) for client in healthy]
        dead_threads = [threading.Thread(target=client.run) for client in dead]
        readiness_s: list[float] = []
        try:
            for thread in healthy_threads:
                thread.start()
            time.sleep(ALONE_S)
            dead_from_s = time.monotonic()
            for thread in dead_threads:
                thread.start()
            while time.monotonic() < dead_from_s + DEAD_S:
                readiness_s.append(gateway.get("/readyz").elapsed_s)
                time.sleep(0.1)
            ended_s = time.monotonic()
            dead_stop.set()
            for thread in dead_threads:
                thread.join(30)
            # Measure again without them: the speed of the machine may have changed.
            again_s = time.monotonic()
            time.sleep(ALONE_S)
        finally:
            dead_stop.set()
            healthy_stop.set()
            for thread in (*healthy_threads, *dead_threads):
                thread.join(30)

        good_s = [at_s for c in healthy for at_s, response in c.responses if response.status == 200]
        alone = [
            sum(from_s <= at_s < from_s + ALONE_S for at_s in good_s) / ALONE_S
            for from_s in (dead_from_s - ALONE_S, again_s)
        ]
        during = sum(dead_from_s <= at_s < ended_s for at_s in good_s) / (ended_s - dead_from_s)
        rejected = [
            response
            for client in dead
            for _, response in client.responses
            if response.json["type"] in ("/problems/overloaded", "/problems/responder-silent")
        ]
        breaker_open = [a for a in rejected if a.json["type"] == "/problems/responder-silent"]
        rejected_within_s = p99([a.elapsed_s for a in rejected])
        record_property("goodput alone", f"{alone[0]:.0f}/s before, {alone[1]:.0f}/s after")
        record_property("goodput beside the dead topic", f"{during:.0f}/s")
        record_property(
            "rejected", f"{len(rejected)}, {len(breaker_open)} of them responder-silent"
        )
        record_property("rejection p99", f"{rejected_within_s * 1000:.1f} ms")
        record_property("/readyz slowest", f"{max(readiness_s) * 1000:.1f} ms")

    assert len(breaker_open) > len(rejected) / 2
    assert all(a.json["sent"] == "no" and a.headers["Retry-After"] for a in rejected)
    # Includes the first three seconds, until the breaker opens.
    assert during >= 0.8 * sum(alone) / 2
    assert rejected_within_s < QUEUE_S + TIMEOUT_S / 10
    assert max(readiness_s) < TIMEOUT_S / 10


def test_requests_succeed_from_the_first_reply_of_a_resumed_responder(
    deploy: Deploy, record_property: RecordProperty
):
    env = {"WEB_CONCURRENCY": "1", "REPLY_TIMEOUT_S": "1"}
    with deploy(env=env) as deployment:
        (responder,) = deployment.named("responder")
        stop = threading.Event()
        clients = [Client(deployment.gateway.port, "/echo", 0.05, stop) for _ in range(30)]
        threads = [threading.Thread(target=client.run) for client in clients]
        responder.child.pause()
        try:
            for thread in threads:
                thread.start()
            assert wait_until(
                lambda: any(_is_breaker_open(c.responses[-1][1]) for c in clients if c.responses),
                15,
            )
            responder.child.resume()
            resumed_s = time.monotonic()
            assert wait_until(
                lambda: all(c.responses[-1][1].status == 200 for c in clients if c.responses), 15
            )
            took_s = time.monotonic() - resumed_s
        finally:
            responder.child.resume()
            stop.set()
            for thread in threads:
                thread.join(30)
        record_property("all answered again after", f"{took_s:.2f} s")


def echo_works(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        return exchange(connection, "POST", "/echo", b"x").status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _is_breaker_open(response: Response) -> bool:
    return response.status == 503 and bool(response.json["type"] == "/problems/responder-silent")
