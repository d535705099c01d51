"""responder.testing: a handler is called as by the responder, without Kafka."""

import time
from typing import Any

import pytest

from rendezvous.contract import Reply
from rendezvous.errors import UnusableReply
from responder.handlers import orders
from responder.registry import HandlerError
from responder.testing import call

ORDER = b'{"item": "tea", "quantity": 1}'


def test_a_handler_is_called_by_its_function_or_by_its_topic():
    for handler in (orders, "orders"):
        reply = call(handler, ORDER, content_type="application/json")

        assert reply.status == 201
        assert reply.headers == (("content-type", "application/json"),)
        assert b'"tea"' in reply.body


def test_a_handler_gets_the_request_as_from_kafka():
    received = []

    def handler(request):
        received.append(request)
        return Reply.to(request)

    call(handler, b"x", path="/orders/7", headers=(("x-user", "ada"),), timeout_s=2)

    (request,) = received
    assert (request.body, request.path, request.header("X-User")) == (b"x", "/orders/7", "ada")
    assert request.key == request.correlation_id.encode()
    assert 1 < request.deadline_ms / 1000 - time.time() < 2.01


def test_a_handler_error_is_its_error_reply():
    def handler(request):
        raise HandlerError(409, "sold out")

    reply = call(handler)

    assert reply.status == 409
    assert b"sold out" in reply.body


def test_any_other_exception_is_raised():
    with pytest.raises(RuntimeError, match="bomb"):
        call("orders", ORDER.replace(b"tea", b"bomb"))


TEXT: Any = "text"
UNUSABLE: dict[str, tuple[Any, type[Exception]]] = {
    "none": (lambda request: None, TypeError),
    "text": (lambda request: Reply.to(request, TEXT), TypeError),
    "status": (lambda request: Reply.to(request, status=99), UnusableReply),
    "header": (lambda request: Reply.to(request, headers=[("location", "a\nb")]), UnusableReply),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_reply_that_no_client_would_get_is_an_error(case):
    handler, error = UNUSABLE[case]

    with pytest.raises(error):
        call(handler)


def test_a_topic_without_a_handler_is_named():
    with pytest.raises(LookupError, match=r"for topic ordres \(registered: .*orders.*\); import"):
        call("ordres")
