"""The demo handlers."""

import json

import pytest

from rendezvous.contract import Reply, Request
from rendezvous.reply_headers import MAX_HEADER_BYTES
from responder.handlers import echo, orders
from responder.registry import HandlerError


def request_with(body, content_type="application/json"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("the-id", "orders", "replies", 1, body=raw, content_type=content_type)


@pytest.mark.parametrize("content_type", [None, "application/octet-stream"])
def test_echo_returns_body_and_content_type(content_type):
    request = request_with(b"\x00\xff", content_type)

    assert echo(request) == Reply.to(request, b"\x00\xff", content_type=content_type)


@pytest.mark.parametrize("content_type", ["text/café", "text/plain; a=" + "b" * MAX_HEADER_BYTES])
def test_echo_omits_a_content_type_that_is_not_valid_in_a_response(content_type):
    reply = echo(request_with(b"x", content_type))

    assert Reply.decode(*reply.encode()) == Reply("the-id", b"x")


def test_an_order_is_accepted():
    reply = orders(request_with({"item": "tea", "quantity": 3}))

    assert reply.status == 201
    assert json.loads(reply.body) == {"order": "the-id", "item": "tea", "quantity": 3}
    assert dict(reply.headers)["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"", 400), (b"\xff", 400), (b"[" * 200_000, 400),
        ([], 422), ("tea", 422), (None, 422), ({}, 422),
        ({"item": "tea"}, 422), ({"quantity": 1}, 422),
        ({"item": "tea", "quantity": 0}, 422), ({"item": "tea", "quantity": -1}, 422),
        ({"item": "tea", "quantity": 1.5}, 422), ({"item": "tea", "quantity": "1"}, 422),
        ({"item": "tea", "quantity": True}, 422),
        ({"item": "", "quantity": 1}, 422), ({"item": 7, "quantity": 1}, 422),
        ({"item": "tea", "quantity": 1, "delay_s": "1"}, 422),
        ({"item": "tea", "quantity": 1, "delay_s": -1}, 422),
        ({"item": "tea", "quantity": 1, "delay_s": 61}, 422),
        ({"item": "tea", "quantity": 1, "delay_s": True}, 422),
        (b'{"item": "tea", "quantity": 1, "delay_s": NaN}', 422),
    ],
)  # fmt: skip
def test_an_invalid_order_is_refused(body, status):
    with pytest.raises(HandlerError) as caught:
        orders(request_with(body))

    assert caught.value.status == status
    assert caught.value.detail


def test_an_order_can_be_delayed(monkeypatch):
    slept_s: list[float] = []
    monkeypatch.setattr("responder.handlers.time.sleep", slept_s.append)

    orders(request_with({"item": "tea", "quantity": 1, "delay_s": 2.5}))

    assert slept_s == [2.5]


def test_the_bomb_raises_an_exception():
    with pytest.raises(RuntimeError, match="bomb"):
        orders(request_with({"item": "bomb", "quantity": 1}))
