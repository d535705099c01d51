"""Two clients on one gateway: neither gets what is the other's, nor pays for what it does."""

import http.client
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from statistics import median

import pytest

from tests.fakes import altered
from tests.support.api_clients import Tenant, in_other_words, send_all, table_of
from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deploy, Response, exchange
from tools.devstack.ports import LOOPBACK

pytestmark = pytest.mark.faults

REQUESTS = 2_000
ROUNDS = 7
ROUND_S = 3.0
#: What the orderly client asks for, all its connections together.
ORDERLY_RATE, ORDERLY_CONNECTIONS = 40, 12
LIMIT = 5
#: Ten times what it may send, whatever it is told.
OFFENDING_RATE, OFFENDING_CONNECTIONS = 10 * LIMIT, 8
#: A service that takes its time: the p99 of one that takes none is that of the machine.
ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": 0.1}).encode()
MOST_SLOWER = 1.2


def test_of_2000_requests_each_with_the_same_ids_none_is_mixed_up(
    deploy: Deploy, record_property: Callable[[str, object], None]
):
    blue, green = Tenant("blue"), Tenant("green")
    env = {"API_KEYS": table_of(blue, green), "REPLY_TIMEOUT_S": "20"}
    with deploy(gateways=2, replies=2, responders=2, env=env, key=blue.key) as deployment:
        gateways = deployment.all_gateways
        started_s = time.monotonic()
        send_all([blue, green], gateways, REQUESTS)
        record_property("requests per second", 2 * REQUESTS / (time.monotonic() - started_s))
        assert blue.endings == green.endings == {"own": REQUESTS}
        assert len({*blue.ids, *green.ids}) == 2 * REQUESTS
        seen = Counter(
            in_other_words(other.get(gateways[0], correlation_id))
            for owner, other in ((blue, green), (green, blue))
            for correlation_id in owner.ids
        )
        unknown = in_other_words(blue.get(gateways[0], altered(blue.ids[0])))

    assert unknown[0] == 404
    assert seen == {unknown: 2 * REQUESTS}


@on_embedded_broker
def test_a_client_at_ten_times_its_rate_costs_another_one_next_to_nothing(
    deploy: Deploy, record_property: Callable[[str, object], None]
):
    orderly, offender = Tenant("orderly"), Tenant("offender")
    table = table_of(orderly, offender, offender=f'rate = "{LIMIT}/s"\nin_flight_share = 0.25\n')
    # One worker: nothing keeps the two apart but what is tested here.
    # And a responder that has room for 80 orders a second: for one client, but not for both.
    env = {"API_KEYS": table, "WEB_CONCURRENCY": "1", "RESPONDER_THREADS": "8"}
    alone: list[float] = []
    beside: list[float] = []
    offences: Counter[int] = Counter()
    # In a process of its own: in ours the two would wait for each other before they send.
    spawn = multiprocessing.get_context("spawn")
    with deploy(env=env, key=orderly.key) as deployment, ProcessPoolExecutor(1, spawn) as elsewhere:
        port = deployment.gateway.port
        elsewhere.submit(offences_of, port, offender).result()
        _p99_of_round_s(port, orderly)  # the first requests of all
        for _ in range(ROUNDS):
            alone.append(_p99_of_round_s(port, orderly))
            offending = elsewhere.submit(offences_of, port, offender)
            beside.append(_p99_of_round_s(port, orderly))
            offences += offending.result()

    record_property("p99 of the orderly client, alone", _figures(alone))
    record_property("p99 of the orderly client, beside the other", _figures(beside))
    record_property("what the offender got", dict(offences))
    assert set(offences) == {201, 429}
    # What it may send in the windows that a round touches, and nothing on top.
    assert offences[201] <= ROUNDS * (ROUND_S + 2) * LIMIT
    # It did what it was to do: far more than it may.
    assert offences[429] >= 4 * offences[201]
    assert median(beside) <= MOST_SLOWER * median(alone), (alone, beside)


def orders(port: int, tenant: Tenant, rate: float, connections: int) -> list[Response]:
    """Have *tenant* order for a round at this *rate*, whatever it is told."""
    end_s = time.monotonic() + ROUND_S
    with ThreadPoolExecutor(connections) as pool:
        parts = pool.map(
            lambda number: _orders(port, tenant, end_s, connections / rate, number / rate),
            range(connections),
        )
        return [response for part in parts for response in part]


def _orders(
    port: int, tenant: Tenant, end_s: float, pause_s: float, first_s: float
) -> list[Response]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    headers = tenant.authorization | {"Content-Type": "application/json"}
    due_s = time.monotonic() + first_s
    responses = []
    while due_s < end_s:
        time.sleep(max(0.0, due_s - time.monotonic()))
        responses.append(exchange(connection, "POST", "/orders", ORDER, headers))
        due_s = max(due_s + pause_s, time.monotonic() - pause_s)
    connection.close()
    return responses


def offences_of(port: int, tenant: Tenant) -> Counter[int]:
    """Have *tenant* offend for a round; return the statuses of what it got."""
    responses = orders(port, tenant, OFFENDING_RATE, OFFENDING_CONNECTIONS)
    return Counter(response.status for response in responses)


def _p99_of_round_s(port: int, tenant: Tenant) -> float:
    responses = orders(port, tenant, ORDERLY_RATE, ORDERLY_CONNECTIONS)
    assert {response.status for response in responses} == {201}
    assert len(responses) > ORDERLY_RATE * ROUND_S * 0.5
    return sorted(response.elapsed_s for response in responses)[int(len(responses) * 0.99)]


def _figures(times_s: list[float]) -> str:
    each = ", ".join(f"{time_s * 1000:.0f}" for time_s in times_s)
    return f"{median(times_s) * 1000:.0f} ms ({each})"
