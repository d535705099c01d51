"""Routes that name the caller: users behind one proxy are told apart."""

from dataclasses import dataclass
from typing import Any

import pytest

from gateway.clients.api_keys import ApiKeys, hash_of, new_key
from gateway.clients.client import Client
from gateway.routing.table import Route
from gateway.web.auth import MAX_CALLER_LENGTH
from rendezvous.contract import Reply
from tests.unit.apps import new_app
from tests.unit.gateway.web.routes.gateway import assert_problem

SHOP, DEPOT = new_key(), new_key()
API_KEYS = ApiKeys([(hash_of(SHOP), Client("shop")), (hash_of(DEPOT), Client("depot"))])
ROUTES = (
    Route("/orders", "orders", caller="header:X-User"),
    Route("/tenants", "tenants", caller="header:X-Tenant"),
    Route("/echo", "echo"),
)


@dataclass
class Gateway:
    """An application, and its fake broker."""

    app: Any
    publisher: Any

    def request(self, method="POST", path="/orders", *, environ=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client = self.app.test_client()
        return client.open(path, method=method, headers=named, environ_overrides=environ or {})

    def order(self, user, key="k", **headers):
        return self.request(X_User=user, Idempotency_Key=key, **headers)

    def fetch(self, response, **headers):
        return self.request("GET", f"/replies/{response.headers['X-Correlation-ID']}", **headers)


@pytest.fixture
def new_gateway(poller, publisher, redis):
    def build(api_keys=None):
        publisher.responder = lambda request: Reply.to(request, b"%d" % len(publisher.published))
        app = new_app(ROUTES, poller, publisher, redis, api_keys=api_keys)
        return Gateway(app, publisher)

    return build


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


def bearer(key):
    return f"Bearer {key}"


def test_callers_with_the_same_idempotency_key_get_their_own_replies(gateway):
    replies = [gateway.order(user) for user in ("ann", "bob", "ann")]

    assert [reply.status_code for reply in replies] == [200] * 3
    assert len(gateway.publisher.published) == 2
    assert replies[0].data == replies[2].data != replies[1].data
    assert replies[2].headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in replies[1].headers


def test_only_the_caller_of_a_request_can_fetch_its_reply_or_cancel_it(gateway):
    order = gateway.order("ann")

    assert gateway.fetch(order, X_User="ann").status_code == 200
    for headers in ({}, {"X_User": "bob"}, {"X_Tenant": "ann"}, {"X_User": "an"}):
        assert_problem(gateway.fetch(order, **headers), 404, "unknown-reply")
        path = f"/replies/{order.headers['X-Correlation-ID']}"
        assert_problem(gateway.request("DELETE", path, **headers), 404, "unknown-reply")


def test_a_malformed_caller_fetches_only_what_needs_none(gateway):
    """Such as the replies of other routes."""
    malformed = {"HTTP_X_USER": "\xff"}
    order, echo = gateway.order("ann"), gateway.request(path="/echo")
    responses = [
        gateway.request("GET", f"/replies/{r.headers['X-Correlation-ID']}", environ=malformed)
        for r in (order, echo)
    ]

    assert [response.status_code for response in responses] == [404, 200]


def test_each_route_has_the_header_of_its_own(gateway):
    tenant = gateway.request(path="/tenants", X_Tenant="ann", X_User="bob")

    assert gateway.fetch(tenant, X_Tenant="ann").status_code == 200
    assert gateway.fetch(tenant, X_Tenant="ann", X_User="other").status_code == 200
    assert gateway.fetch(tenant, X_User="ann").status_code == 404


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "a\tb",
        "a\x7f",
        "caf\xe9",
        "\xc3\x28",
        "x" * (MAX_CALLER_LENGTH + 1),
        "a\xe2\x80\xa8b",  # a line separator
    ],
)
def test_a_request_without_a_valid_caller_is_rejected(gateway, value):
    environ = {} if value is None else {"HTTP_X_USER": value}
    response = gateway.request(environ=environ)

    problem = assert_problem(response, 400, "caller-unknown", "no")
    state = "malformed" if value else "missing"
    assert f"the header X-User, which names the caller, is {state}; send 1" in problem["detail"]
    assert gateway.publisher.published == []


@pytest.mark.parametrize("value", ["ann", "Ann Lee", "CN=ann,O=x", "café", "x" * 255])
def test_any_printable_text_names_a_caller(gateway, value):
    environ = {"HTTP_X_USER": value.encode().decode("latin-1")}

    assert gateway.request(environ=environ).status_code == 200


def test_the_caller_is_not_forwarded_unless_it_is_listed(gateway):
    gateway.order("ann")

    (request,) = gateway.publisher.published
    assert b"ann" not in [value for _, value in request.encode()[2]]


def test_a_caller_is_one_of_the_client_with_the_api_key(new_gateway):
    gateway = new_gateway(API_KEYS)
    orders = [gateway.order("ann", Authorization=bearer(key)) for key in (SHOP, DEPOT, SHOP)]

    assert len(gateway.publisher.published) == 2
    assert orders[0].data == orders[2].data != orders[1].data
    fetched = [
        gateway.fetch(orders[0], X_User=user, Authorization=bearer(key)).status_code
        for key, user in ((SHOP, "ann"), (DEPOT, "ann"), (SHOP, "bob"))
    ]
    assert fetched == [200, 404, 404]
    assert gateway.fetch(orders[0], Authorization=bearer(SHOP)).status_code == 404


def test_an_api_key_is_checked_before_the_caller(new_gateway):
    assert_problem(new_gateway(API_KEYS).request(), 401, "unauthorized", "no")


@pytest.mark.parametrize(
    ("client", "owner"),
    [
        (Client(""), ""),
        (Client("shop"), "shop"),
        (Client("", caller="x-user=shop"), "/x-user=shop"),
        (Client("shop", caller="x-user=a/b=c"), "shop/x-user=a/b=c"),
    ],
)
def test_an_owner_is_made_of_client_and_caller(client, owner):
    assert client.owner == owner
