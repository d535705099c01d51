"""Two API clients on one gateway: isolation of replies and of latency."""

import http.client
import json
import multiprocessing
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from statistics import median

import pytest

from tests.fakes import altered
from tests.support.api_clients import ApiClient, keys_table, send_all, without_ids
from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deploy, Response, exchange
from tests.support.report import RecordProperty
from tools.devstack.ports import LOOPBACK

pytestmark = pytest.mark.faults

REQUESTS = 2_000
#: Rounds alone and beside the offender, and the length of each in seconds.
ROUNDS = 7
ROUND_S = 3.0
#: Requests per second of the orderly client, all its connections together.
ORDERLY_RATE, ORDERLY_CONNECTIONS = 40, 12
#: Rate limit of the offender, and the ten times higher rate that it sends at regardless of 429s.
LIMIT = 5
OFFENDING_RATE, OFFENDING_CONNECTIONS = 10 * LIMIT, 8
#: A slow request, so that its p99 is not that of the machine.
ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": 0.1}).encode()
#: Maximum ratio of the p99 beside the offender to the p99 alone.
MAX_SLOWDOWN = 1.2


def test_2000_requests_per_client_with_the_same_ids_get_their_own_replies(
    deploy: Deploy, record_property: RecordProperty
):
    blue, green = ApiClient("blue"), ApiClient("green")
    env = {"API_KEYS": keys_table(blue, green), "REPLY_TIMEOUT_S": "20"}
    with deploy(gateways=2, replies=2, responders=2, env=env, key=blue.key) as deployment:
        gateways = deployment.all_gateways
        started_s = time.monotonic()
        send_all([blue, green], gateways, REQUESTS)
        record_property("requests per second", 2 * REQUESTS / (time.monotonic() - started_s))
        assert blue.outcomes == green.outcomes == {"own": REQUESTS}
        assert len({*blue.ids, *green.ids}) == 2 * REQUESTS
        seen = Counter(
            without_ids(other.get_reply(gateways[0], correlation_id))
            for owner, other in ((blue, green), (green, blue))
            for correlation_id in owner.ids
        )
        unknown = without_ids(blue.get_reply(gateways[0], altered(blue.ids[0])))

    assert unknown[0] == 404
    assert seen == {unknown: 2 * REQUESTS}


@on_embedded_broker
def test_a_client_at_ten_times_its_rate_limit_hardly_slows_another(
    deploy: Deploy, record_property: RecordProperty
):
    orderly, offender = ApiClient("orderly"), ApiClient("offender")
    table = keys_table(orderly, offender, offender=f'rate = "{LIMIT}/s"\nin_flight_share = 0.25\n')
    # One worker, so that only the limits separate the two, and a responder with capacity for 80
    # orders per second: enough for one client, not for both.
    env = {"API_KEYS": table, "WEB_CONCURRENCY": "1", "RESPONDER_THREADS": "8"}
    alone: list[float] = []
    beside: list[float] = []
    offences: Counter[int] = Counter()
    # In another process: in this one the two would share the GIL.
    spawn = multiprocessing.get_context("spawn")
    with (
        deploy(env=env, key=orderly.key) as deployment,
        ProcessPoolExecutor(1, spawn) as other_process,
    ):
        port = deployment.gateway.port
        other_process.submit(offences_of, port, offender).result()
        _p99_of_round_s(port, orderly)  # the first requests of all
        for _ in range(ROUNDS):
            alone.append(_p99_of_round_s(port, orderly))
            offending = other_process.submit(offences_of, port, offender)
            beside.append(_p99_of_round_s(port, orderly))
            offences += offending.result()

    record_property("p99 of the orderly client, alone", _figures(alone))
    record_property("p99 of the orderly client, beside the other", _figures(beside))
    record_property("statuses of the offender", dict(offences))
    assert set(offences) == {201, 429}
    # Its quota in the windows that a round touches.
    assert offences[201] <= ROUNDS * (ROUND_S + 2) * LIMIT
    # It did exceed its limit by far.
    assert offences[429] >= 4 * offences[201]
    assert median(beside) <= MAX_SLOWDOWN * median(alone), (alone, beside)


def orders(port: int, client: ApiClient, rate: float, connections: int) -> list[Response]:
    """Send orders for one round at *rate*, regardless of the responses."""
    end_s = time.monotonic() + ROUND_S
    with ThreadPoolExecutor(connections) as pool:
        parts = pool.map(
            lambda number: _orders(port, client, end_s, connections / rate, number / rate),
            range(connections),
        )
        return [response for part in parts for response in part]


def _orders(
    port: int, client: ApiClient, end_s: float, pause_s: float, first_s: float
) -> list[Response]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    headers = client.authorization | {"Content-Type": "application/json"}
    due_s = time.monotonic() + first_s
    responses = []
    while due_s < end_s:
        time.sleep(max(0.0, due_s - time.monotonic()))
        responses.append(exchange(connection, "POST", "/orders", ORDER, headers))
        due_s = max(due_s + pause_s, time.monotonic() - pause_s)
    connection.close()
    return responses


def offences_of(port: int, client: ApiClient) -> Counter[int]:
    """Exceed the limit for one round; return the statuses of the responses."""
    responses = orders(port, client, OFFENDING_RATE, OFFENDING_CONNECTIONS)
    return Counter(response.status for response in responses)


def _p99_of_round_s(port: int, client: ApiClient) -> float:
    responses = orders(port, client, ORDERLY_RATE, ORDERLY_CONNECTIONS)
    assert {response.status for response in responses} == {201}
    assert len(responses) > ORDERLY_RATE * ROUND_S * 0.5
    return sorted(response.elapsed_s for response in responses)[int(len(responses) * 0.99)]


def _figures(times_s: list[float]) -> str:
    each = ", ".join(f"{time_s * 1000:.0f}" for time_s in times_s)
    return f"{median(times_s) * 1000:.0f} ms ({each})"
