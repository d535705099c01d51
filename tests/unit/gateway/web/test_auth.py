"""API keys, permissions and limits, as clients see them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients.admission import Admission
from gateway.clients.api_keys import ApiKeys, hash_of, new_key
from gateway.clients.client import CLIENT_ENVIRON_KEY, Client, Rate
from gateway.clients.rates import RateLimiter
from gateway.health.readiness import Check, Readiness
from gateway.problems import DOCUMENTED, TooManyInFlight
from gateway.routing.table import Route
from gateway.web.reply_resource import LongPolls
from rendezvous.contract import Reply
from tests.fakes import FakeClock, altered, eventually
from tests.unit.apps import new_app

SHOP, DEPOT, RATED, HALF = new_key(), new_key(), new_key(), new_key()
KEYRING = ApiKeys(
    [
        (hash_of(SHOP), Client("shop")),
        (hash_of(DEPOT), Client("depot", routes=frozenset({"/echo"}))),
        (hash_of(RATED), Client("rated", rate=Rate(2, 60))),
        (hash_of(HALF), Client("half", in_flight_share=0.5)),
    ]
)
ROUTES = (Route("/echo", "echo"), Route("/orders/<order_id>", "orders", ("PUT", "DELETE")))


@dataclass
class Gateway:
    """The application and its collaborators."""

    app: Any
    publisher: Any
    clock: FakeClock

    def request(self, method="POST", path="/echo", key=None, **arguments):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        headers |= arguments.pop("headers", {})
        return self.app.test_client().open(path, method=method, headers=headers, **arguments)


@pytest.fixture
def new_gateway(ids, poller, publisher, redis):
    def build(api_keys=KEYRING, max_in_flight=4):
        clock = FakeClock(1_000_020.0)
        app = new_app(
            ROUTES,
            poller,
            publisher,
            redis,
            max_in_flight=max_in_flight,
            api_keys=api_keys,
            parts={"rates": RateLimiter(redis, ids.deployment, clock)},
        )
        return Gateway(app, publisher, clock)

    return build


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


def assert_problem(response, status, kind, sent="no"):
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    problem = response.get_json(force=True)
    assert problem["type"] == f"/problems/{kind}"
    assert problem.get("sent") == sent
    return problem


# Keys


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer ", "Bearer   "])
def test_a_known_key_is_accepted_with_any_case_of_the_scheme_and_any_number_of_spaces(
    gateway, scheme
):
    response = gateway.request(headers={"Authorization": f"{scheme} {SHOP}"}, data=b"x")

    assert response.status_code == 200
    assert len(gateway.publisher.published) == 1


def test_a_request_without_a_key_is_rejected_with_advice(gateway):
    response = gateway.request(data=b"x")

    problem = assert_problem(response, 401, "unauthorized")
    assert "Authorization: Bearer" in problem["detail"]
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rendezvous"'
    assert gateway.publisher.published == []


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {altered(SHOP)}",
        f"Bearer {SHOP}, Bearer {SHOP}",  # as gunicorn joins two headers
        f"Bearer {SHOP},",
        f"Bearer {SHOP} {DEPOT}",
        f"Basic {SHOP}",
        f"Bearer{SHOP}",
        f"Bearer\t{SHOP}",
        SHOP,
        "Bearer",
        "Bearer ",
        "",
        hash_of(SHOP),
        f"Bearer {hash_of(SHOP)}",
        f"Bearer {hash_of(SHOP).removeprefix('sha256:')}",
        "Bearer \xff\xfe",
        "Bearer \N{LATIN SMALL LETTER LONG S}".encode().decode("latin-1"),
        "Bearer " + "a" * 60_000,
    ],
)
def test_an_invalid_key_is_rejected_and_not_repeated_in_the_response(gateway, value):
    response = gateway.request(environ_overrides={"HTTP_AUTHORIZATION": value}, data=b"x")

    assert_problem(response, 401, "unauthorized")
    expected = 'Bearer realm="rendezvous", error="invalid_token"'
    assert response.headers["WWW-Authenticate"] == expected
    assert SHOP.encode() not in response.data
    assert gateway.publisher.published == []


@given(st.binary(max_size=80).map(lambda b: b.decode("latin-1")))
def test_any_bytes_instead_of_a_key_are_rejected_with_401(value):
    # Parts that are handed in are not started, and a request that is rejected uses none of them.
    app = new_app(ROUTES, Mock(), Mock(), Mock(), api_keys=KEYRING)
    for given_value in (value, f"Bearer {value}"):
        response = app.test_client().post(
            "/echo", environ_overrides={"HTTP_AUTHORIZATION": given_value}
        )
        assert response.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/problems/unauthorized", 200),
        ("OPTIONS", "/replies/x", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/echo", 405),
    ],
)
def test_own_paths_preflights_and_errors_need_no_key(gateway, method, path, status):
    assert gateway.request(method, path).status_code == status


SECRETS = ("10.0.0.7:9092", "orders", "Error 111")


@pytest.fixture
def unready(monkeypatch):
    """Let both checks fail, with an address, a topic and an exception's text."""
    kafka = Check("Kafka", str)
    kafka._problem = "no broker reachable: 10.0.0.7:9092 (Error 111); topic orders"
    redis = Check("Redis", str)
    redis._problem = None
    readiness = Readiness((kafka, redis), lambda: True)
    monkeypatch.setattr(readiness, "warnings", lambda: ["10.0.0.7:9092 is ahead"])
    return readiness


@pytest.fixture
def readyz(ids, poller, publisher, redis, unready):
    """Return the response of /readyz of a gateway that is not ready."""

    def request(api_keys=KEYRING, path="/readyz", **headers):
        parts = {"readiness": unready}
        app = new_app(ROUTES, poller, publisher, redis, api_keys=api_keys, parts=parts)
        return app.test_client().get(path, headers=headers)

    return request


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {altered(SHOP)}"},
        {"Authorization": f"Basic {SHOP}"},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
)
def test_readyz_shows_strangers_no_addresses_topics_or_causes(readyz, headers):
    response = readyz(**headers)

    assert response.status_code == 503
    assert response.json["status"] == "not ready"
    assert response.json["problems"] == ["this process is shutting down", "Kafka is not ready"]
    assert response.json["warnings"] == ["send an API key or a token to read the warnings"]
    assert "version" not in response.json
    assert not [secret for secret in SECRETS if secret in response.text]


def test_readyz_local_shows_strangers_no_addresses_topics_or_causes(readyz):
    response = readyz(path="/readyz?local")

    assert response.status_code == 503
    assert response.json["problems"][0] == "this process is shutting down"
    assert "no broker" not in response.text
    assert not [secret for secret in SECRETS if secret in response.text]


def test_readyz_shows_all_to_clients_with_a_key_and_where_none_is_needed(readyz):
    for response in (readyz(Authorization=f"Bearer {DEPOT}"), readyz(None)):
        assert response.status_code == 503
        assert len(response.json["problems"]) == 2
        assert response.json["problems"][1].startswith("no broker reachable: 10.0.0.7:9092")
        assert response.json["warnings"] == ["10.0.0.7:9092 is ahead"]
        assert response.json["version"]


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/echo", "no"),
        ("PUT", "/orders/7", "no"),
        ("GET", "/replies/x", None),
        ("HEAD", "/replies/x", None),
    ],
)
def test_routes_and_replies_need_a_key(gateway, method, path, sent):
    response = gateway.request(method, path)

    assert response.status_code == 401
    if method != "HEAD":
        assert_problem(response, 401, "unauthorized", sent)


def test_only_the_listed_views_need_no_key(gateway):
    without_key = {
        rule.rule
        for rule in gateway.app.url_map.iter_rules()
        if gateway.request(min(rule.methods - {"HEAD", "OPTIONS"}), rule.rule).status_code != 401
    }

    assert without_key == {
        "/", "/livez", "/readyz", "/problems", "/problems/<kind>",
        "/openapi.json", "/docs", "/docs/<of_version>/<name>",
    }  # fmt: skip


def test_without_api_keys_requests_need_no_key(new_gateway):
    gateway = new_gateway(api_keys=None)

    assert gateway.request(data=b"x").status_code == 200
    assert gateway.request(key="any", data=b"x").status_code == 200


@pytest.mark.parametrize("forged", [{}, {"Client": "depot"}, {"CLIENT": "depot"}])
def test_the_record_names_the_client_of_the_key_whatever_the_headers_say(gateway, forged):
    gateway.request(key=SHOP, headers=forged, data=b"x")

    headers = gateway.publisher.published[0].encode()[2]
    assert [value for name, value in headers if name.lower() == "client"] == [b"shop"]


def test_without_api_keys_the_record_names_no_client(new_gateway):
    gateway = new_gateway(api_keys=None)
    gateway.request(headers={"Client": "depot"}, data=b"x")

    assert "client" not in dict(gateway.publisher.published[0].encode()[2])


def test_the_key_is_not_published(gateway):
    gateway.request(key=SHOP, data=b"x")

    (request,) = gateway.publisher.published
    assert SHOP not in repr(request)
    assert SHOP.encode() not in repr(request.encode()).encode()


def test_the_key_is_neither_in_redis_nor_in_logs(gateway, redis, caplog):
    caplog.set_level("DEBUG")
    for key in (SHOP, RATED, RATED, RATED, altered(SHOP)):
        gateway.request(key=key, data=b"x")

    stored = repr([(name, redis.get(name)) for name in redis.keys()])  # noqa: SIM118
    assert ":rated:" in stored
    for key in (SHOP, RATED, altered(SHOP)):
        for secret in (key, hash_of(key).removeprefix("sha256:")):
            assert secret not in stored
            assert secret not in caplog.text


def test_the_environ_has_the_client_name_for_the_access_log(gateway):
    seen = []
    wrapped = gateway.app.wsgi_app

    def recording(environ, start_response):
        try:
            return wrapped(environ, start_response)
        finally:
            seen.append(environ.get(CLIENT_ENVIRON_KEY))

    gateway.app.wsgi_app = recording
    gateway.request(key=SHOP)
    gateway.request()

    assert seen == ["shop", None]


def test_a_client_may_use_only_its_own_routes(gateway):
    assert gateway.request(key=DEPOT).status_code == 200

    response = gateway.request("PUT", "/orders/7", key=DEPOT)

    problem = assert_problem(response, 403, "forbidden")
    assert "client 'depot' may not use /orders/<order_id>" in problem["detail"]
    assert len(gateway.publisher.published) == 1
    assert gateway.request("PUT", "/orders/7", key=SHOP).status_code == 200


def test_only_the_client_of_a_request_can_fetch_its_reply(gateway):
    correlation_id = gateway.request(key=SHOP, data=b"x").headers["X-Correlation-ID"]
    path = f"/replies/{correlation_id}"

    assert gateway.request("GET", path, key=SHOP).status_code == 200
    foreign = gateway.request("GET", path, key=DEPOT)
    unknown = gateway.request("GET", f"/replies/{altered(correlation_id)}", key=DEPOT)

    assert_problem(foreign, 404, "unknown-reply", None)
    assert without_id(foreign) == without_id(unknown)
    assert gateway.request("GET", path).status_code == 401


def without_id(response):
    """Return problem and headers without the id: clients must not learn of others' replies."""
    problem = json.loads(response.data)
    _, quote, problem["detail"] = problem["detail"].rpartition("'")
    assert quote
    headers = {k: v for k, v in response.headers if k != "Content-Length"}
    return problem, headers


# Rate limits


def test_a_client_with_a_rate_limit_gets_the_rest_of_it_in_headers(gateway):
    response = gateway.request(key=RATED)

    assert response.status_code == 200
    assert response.headers["RateLimit-Policy"] == '"default";q=2;w=60'
    assert response.headers["RateLimit"] == '"default";r=1;t=60'
    assert "RateLimit" not in gateway.request(key=SHOP).headers


def test_a_client_over_its_rate_limit_is_rejected_until_the_window_ends(gateway):
    for _ in range(2):
        assert gateway.request(key=RATED).status_code == 200

    response = gateway.request(key=RATED)

    assert_problem(response, 429, "rate-limited")
    assert response.headers["Retry-After"] == "60"
    assert response.headers.getlist("RateLimit") == ['"default";r=0;t=60']
    assert len(gateway.publisher.published) == 2
    assert gateway.request(key=SHOP).status_code == 200
    gateway.clock.now_s += 60
    assert gateway.request(key=RATED).status_code == 200


def test_fetching_replies_counts_towards_the_rate_limit(gateway):
    correlation_id = gateway.request(key=RATED).headers["X-Correlation-ID"]

    responses = [gateway.request("GET", f"/replies/{correlation_id}", key=RATED) for _ in range(2)]

    assert responses[0].status_code == 200
    assert responses[0].headers["RateLimit"] == '"default";r=0;t=60'
    assert_problem(responses[1], 429, "rate-limited", None)


def test_errors_have_rate_limit_headers(gateway):
    response = gateway.request(key=RATED, data=b"x" * 1_001)

    assert_problem(response, 413, "too-large")
    assert response.headers["RateLimit"] == '"default";r=1;t=60'


def test_clients_with_a_rate_limit_are_rejected_while_redis_is_down(gateway, redis_server):
    redis_server.connected = False

    assert_problem(gateway.request(key=RATED), 503, "reply-store-unavailable")
    assert gateway.publisher.published == []


def test_an_overloaded_process_does_not_charge_the_rate_limit(new_gateway):
    gateway = new_gateway(max_in_flight=1)
    with held(gateway, SHOP, 1):
        assert_problem(gateway.request(key=RATED), 503, "overloaded")

    assert gateway.request(key=RATED).headers["RateLimit"] == '"default";r=1;t=60'


# In-flight limits


@contextmanager
def held(gateway, key, count):
    """Keep *count* requests in flight until the end of the block."""
    publisher, proceed = gateway.publisher, threading.Event()
    before, answer = len(publisher.published), publisher.responder

    def wait(request):
        proceed.wait(10)
        return Reply.to(request)

    publisher.responder = wait
    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(gateway.request, key=key)
        eventually(lambda: len(publisher.published) == before + count)
        publisher.responder = answer
        yield
        proceed.set()


def test_a_client_over_its_in_flight_share_is_rejected_and_others_are_not(gateway):
    with held(gateway, HALF, 2):
        response = gateway.request(key=HALF)
        other = gateway.request(key=SHOP)

    assert_problem(response, 429, "too-many-in-flight")
    assert 1 <= int(response.headers["Retry-After"]) <= 3
    assert other.status_code == 200
    assert gateway.request(key=HALF).status_code == 200


def test_long_polls_count_towards_the_in_flight_share_of_the_client():
    """Long polls may take 4 of the 8 slots, and this client 2 of them."""
    proceed = threading.Event()
    waiting = []

    class Requester:
        def wait_again(self, correlation_id, wait_s, is_finishing):
            waiting.append(correlation_id)
            proceed.wait(10)

    client, requester = Client("half", in_flight_share=0.5), cast(Any, Requester())
    admission = Admission(8)
    polls = LongPolls(requester, admission, lambda: False)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(polls.wait, "an id", 1.0, client)
        eventually(lambda: len(waiting) == 2)
        assert polls.wait("an id", 1.0, client) == (None, False)
        with (
            admission.admit(client),
            admission.admit(client),
            pytest.raises(TooManyInFlight),
            admission.admit(client),
        ):
            pass
        proceed.set()

    assert len(waiting) == 2


@pytest.mark.parametrize(
    "kind", ["unauthorized", "forbidden", "rate-limited", "too-many-in-flight"]
)
def test_the_problems_of_clients_state_that_nothing_was_published(kind):
    assert "Nothing was published" in DOCUMENTED[kind].meaning
