"""Registry: each topic has one handler."""

import pytest

import responder.handlers  # noqa: F401  # registers the handlers
from rendezvous.contract import Reply
from responder.registry import Handlers, registered


def handler(request):
    return Reply.to(request)


def test_a_function_is_registered_for_its_topic():
    handlers = Handlers()
    decorated = handlers.handles("orders")(handler)

    assert decorated is handler
    assert handlers.by_topic() == {"orders": handler}


def test_topics_get_the_prefix():
    handlers = Handlers()
    handlers.handles("orders")(handler)

    assert handlers.by_topic("team-1.") == {"team-1.orders": handler}


def test_a_second_handler_for_a_topic_is_refused():
    handlers = Handlers()
    handlers.handles("orders")(handler)

    with pytest.raises(ValueError, match="'orders' already has a handler"):
        handlers.handles("orders")(lambda request: Reply.to(request))
    assert handlers.by_topic() == {"orders": handler}


def test_the_demo_handles_echo_and_orders():
    assert set(registered()) == {"echo", "orders"}
