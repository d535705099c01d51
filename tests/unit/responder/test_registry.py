"""Which function answers which topic."""

import pytest

import responder.handlers  # noqa: F401  # its functions register themselves
from rendezvous.contract import Reply
from responder.registry import Handlers, registered


def handler(request):
    return Reply.to(request)


def test_a_function_answers_the_topic_it_says():
    handlers = Handlers()
    decorated = handlers.handles("orders")(handler)

    assert decorated is handler
    assert handlers.by_topic() == {"orders": handler}


def test_the_prefix_stands_before_the_topics():
    handlers = Handlers()
    handlers.handles("orders")(handler)

    assert handlers.by_topic("team-1.") == {"team-1.orders": handler}


def test_a_topic_is_answered_by_one_function_only():
    handlers = Handlers()
    handlers.handles("orders")(handler)

    with pytest.raises(ValueError, match="'orders' has a handler already"):
        handlers.handles("orders")(lambda request: Reply.to(request))
    assert handlers.by_topic() == {"orders": handler}


def test_the_demo_answers_echo_and_orders():
    assert set(registered()) == {"echo", "orders"}
