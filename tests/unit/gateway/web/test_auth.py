"""API keys as a client meets them: who is let in, who is not, and what each is told."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients.admission import Admission
from gateway.clients.api_keys import ApiKeys, hash_of, new_key
from gateway.clients.client import CLIENT_ENVIRON_KEY, Client, Rate
from gateway.clients.rates import RateLimiter
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
    """The application and what stands behind it."""

    app: Any
    publisher: Any
    clock: FakeClock

    def request(self, method="POST", path="/echo", key=None, **arguments):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        headers |= arguments.pop("headers", {})
        return self.app.test_client().open(path, method=method, headers=headers, **arguments)


@pytest.fixture
def new_gateway(ids, mailbox, publisher, redis):
    def build(api_keys=KEYRING, max_in_flight=4):
        clock = FakeClock(1_000_020.0)
        app = new_app(
            ROUTES,
            mailbox,
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


def test_a_request_with_a_known_key_is_served(gateway):
    response = gateway.request(key=SHOP, data=b"x")

    assert response.status_code == 200
    assert len(gateway.publisher.published) == 1


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer ", "Bearer   "])
def test_the_scheme_is_written_as_one_likes(gateway, scheme):
    response = gateway.request(headers={"Authorization": f"{scheme} {SHOP}"})

    assert response.status_code == 200


def test_a_request_without_a_key_is_told_how_to_send_one(gateway):
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
def test_whatever_is_no_known_key_is_refused_and_not_repeated(gateway, value):
    response = gateway.request(environ_overrides={"HTTP_AUTHORIZATION": value}, data=b"x")

    assert_problem(response, 401, "unauthorized")
    expected = 'Bearer realm="rendezvous", error="invalid_token"'
    assert response.headers["WWW-Authenticate"] == expected
    assert SHOP.encode() not in response.data
    assert gateway.publisher.published == []


@given(st.binary(max_size=80).map(lambda b: b.decode("latin-1")))
def test_no_bytes_in_place_of_a_key_are_an_error_of_ours(value):
    nothing: Any = None
    app = new_app(ROUTES, nothing, nothing, nothing, api_keys=KEYRING)
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
def test_what_everybody_may_ask_needs_no_key(gateway, method, path, status):
    assert gateway.request(method, path).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/echo", "no"),
        ("PUT", "/orders/7", "no"),
        ("GET", "/replies/x", None),
        ("HEAD", "/replies/x", None),
    ],
)
def test_everything_else_does(gateway, method, path, sent):
    response = gateway.request(method, path)

    assert response.status_code == 401
    if method != "HEAD":
        assert_problem(response, 401, "unauthorized", sent)


def test_no_view_is_open_that_was_not_meant_to_be(gateway):
    """A view that is added later is closed until somebody opens it."""
    open_to_all = {
        rule.rule
        for rule in gateway.app.url_map.iter_rules()
        if gateway.request(min(rule.methods - {"HEAD", "OPTIONS"}), rule.rule).status_code != 401
    }

    assert open_to_all == {
        "/livez", "/readyz", "/problems", "/problems/<kind>",
        "/openapi.json", "/docs", "/docs/<of_version>/<name>",
    }  # fmt: skip


def test_without_a_keyring_nobody_is_asked(new_gateway):
    gateway = new_gateway(api_keys=None)

    assert gateway.request(data=b"x").status_code == 200
    assert gateway.request(key="whatever", data=b"x").status_code == 200


def test_the_key_is_nowhere_in_what_is_published(gateway):
    gateway.request(key=SHOP, data=b"x")

    (request,) = gateway.publisher.published
    assert SHOP not in repr(request)
    assert SHOP.encode() not in repr(request.encode()).encode()


def test_the_key_is_nowhere_in_redis_and_in_logs(gateway, redis, caplog):
    caplog.set_level("DEBUG")
    for key in (SHOP, RATED, RATED, RATED, altered(SHOP)):
        gateway.request(key=key, data=b"x")

    kept = repr([(name, redis.get(name)) for name in redis.keys()])  # noqa: SIM118
    assert ":rated:" in kept
    for key in (SHOP, RATED, altered(SHOP)):
        for secret in (key, hash_of(key).removeprefix("sha256:")):
            assert secret not in kept
            assert secret not in caplog.text


def test_the_access_log_learns_who_called(gateway):
    seen = []
    served = gateway.app.wsgi_app

    def watch(environ, start_response):
        try:
            return served(environ, start_response)
        finally:
            seen.append(environ.get(CLIENT_ENVIRON_KEY))

    gateway.app.wsgi_app = watch
    gateway.request(key=SHOP)
    gateway.request()

    assert seen == ["shop", None]


# Routes


def test_a_route_that_is_not_open_to_the_client_is_forbidden(gateway):
    assert gateway.request(key=DEPOT).status_code == 200

    response = gateway.request("PUT", "/orders/7", key=DEPOT)

    problem = assert_problem(response, 403, "forbidden")
    assert "client 'depot' may not use /orders/<order_id>" in problem["detail"]
    assert len(gateway.publisher.published) == 1
    assert gateway.request("PUT", "/orders/7", key=SHOP).status_code == 200


# Replies


def test_a_reply_can_be_fetched_by_whom_it_belongs_to_only(gateway):
    correlation_id = gateway.request(key=SHOP, data=b"x").headers["X-Correlation-ID"]
    path = f"/replies/{correlation_id}"

    assert gateway.request("GET", path, key=SHOP).status_code == 200
    foreign = gateway.request("GET", path, key=DEPOT)
    unknown = gateway.request("GET", f"/replies/{altered(correlation_id)}", key=DEPOT)

    assert_problem(foreign, 404, "unknown-reply", None)
    assert told_without_ids(foreign) == told_without_ids(unknown)
    assert gateway.request("GET", path).status_code == 401


def told_without_ids(response):
    """What is said, with each id replaced: nobody learns whether another client has it."""
    problem = json.loads(response.data)
    _, quote, problem["detail"] = problem["detail"].rpartition("'")
    assert quote
    headers = {k: v for k, v in response.headers if k != "Content-Length"}
    return problem, headers


# How much


def test_a_client_with_a_rate_is_told_what_is_left(gateway):
    response = gateway.request(key=RATED)

    assert response.status_code == 200
    assert response.headers["RateLimit-Policy"] == '"default";q=2;w=60'
    assert response.headers["RateLimit"] == '"default";r=1;t=60'
    assert "RateLimit" not in gateway.request(key=SHOP).headers


def test_who_has_used_up_the_rate_is_turned_away_until_the_window_ends(gateway):
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


def test_asking_for_replies_counts_too(gateway):
    correlation_id = gateway.request(key=RATED).headers["X-Correlation-ID"]

    answers = [gateway.request("GET", f"/replies/{correlation_id}", key=RATED) for _ in range(2)]

    assert answers[0].status_code == 200
    assert answers[0].headers["RateLimit"] == '"default";r=0;t=60'
    assert_problem(answers[1], 429, "rate-limited", None)


def test_errors_say_what_is_left_as_well(gateway):
    response = gateway.request(key=RATED, data=b"x" * 1_001)

    assert_problem(response, 413, "too-large")
    assert response.headers["RateLimit"] == '"default";r=1;t=60'


def test_while_redis_is_away_a_rate_lets_nobody_in(gateway, redis_server):
    redis_server.connected = False

    assert_problem(gateway.request(key=RATED), 503, "reply-store-unavailable")
    assert gateway.publisher.published == []


def test_what_is_turned_away_for_want_of_a_place_costs_nothing_of_the_rate(new_gateway, redis):
    gateway = new_gateway(max_in_flight=1)
    with held(gateway, SHOP, 1):
        assert_problem(gateway.request(key=RATED), 503, "overloaded")

    assert gateway.request(key=RATED).headers["RateLimit"] == '"default";r=1;t=60'


# How many at once


class held:  # noqa: N801
    """So many requests in flight, which are answered at the end of the block."""

    def __init__(self, gateway, key, count):
        self._gateway = gateway
        self._go_on = threading.Event()
        self._count = count
        self._threads = [
            threading.Thread(target=gateway.request, kwargs={"key": key}) for _ in range(count)
        ]

    def __enter__(self):
        publisher = self._gateway.publisher
        already = len(publisher.published)

        def answer(request):
            self._go_on.wait(10)
            return Reply.to(request)

        publisher.responder, self._answer = answer, publisher.responder
        for thread in self._threads:
            thread.start()
        eventually(lambda: len(publisher.published) == already + self._count)
        publisher.responder = self._answer

    def __exit__(self, *_):
        self._go_on.set()
        for thread in self._threads:
            thread.join()


def test_a_client_with_its_share_in_flight_is_turned_away_and_others_are_not(gateway):
    with held(gateway, HALF, 2):
        response = gateway.request(key=HALF)
        other = gateway.request(key=SHOP)

    assert_problem(response, 429, "too-many-in-flight")
    assert 1 <= int(response.headers["Retry-After"]) <= 3
    assert other.status_code == 200
    assert gateway.request(key=HALF).status_code == 200


def test_waiting_for_a_reply_again_takes_of_the_clients_share_too():
    """Half of the places are for those who wait again, and a half of these for this client."""
    go_on = threading.Event()
    waiting = []

    class Requester:
        def wait_again(self, correlation_id, wait_s, is_finishing):
            waiting.append(correlation_id)
            go_on.wait(10)

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
        go_on.set()

    assert len(waiting) == 2


@pytest.mark.parametrize(
    "kind", ["unauthorized", "forbidden", "rate-limited", "too-many-in-flight"]
)
def test_each_of_these_problems_has_a_page(kind):
    assert "Nothing was published" in DOCUMENTED[kind].meaning
