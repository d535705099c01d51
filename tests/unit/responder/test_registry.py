"""Registry: each topic has one handler; modules of handlers are loaded by name."""

import json
import sys
from pathlib import Path

import pytest

import responder.handlers  # noqa: F401  # registers the handlers
from rendezvous.contract import Reply, Request
from responder import registry
from responder.registry import HandlerError, Handlers, HandlersNotLoaded, load_handlers, registered


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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of modules, in which the responder starts; the registry is empty."""
    monkeypatch.syspath_prepend(tmp_path)
    handlers = Handlers()
    monkeypatch.setattr(registry, "handles", handlers.handles)
    monkeypatch.setattr(registry, "registered", handlers.by_topic)
    modules = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


HANDLER = """
from rendezvous.contract import Reply, Request
from responder.registry import HandlerError, handles

handles("{topic}")(Reply.to)
"""


def test_the_functions_of_the_named_modules_are_registered(folder):
    (folder / "shop").mkdir()
    (folder / "shop" / "orders.py").write_text(HANDLER.format(topic="orders"))
    (folder / "returns.py").write_text(HANDLER.format(topic="returns"))

    load_handlers(["shop.orders", "returns"])

    assert registry.registered() == {"orders": Reply.to, "returns": Reply.to}


@pytest.mark.parametrize(("name", "missing"), [("shop", "shop"), ("shop.orders", "shop")])
def test_a_module_that_does_not_exist_is_named(folder, name, missing):
    with pytest.raises(HandlersNotLoaded, match=f"^there is no module {missing}; start in the"):
        load_handlers([name])


def test_an_import_that_fails_inside_of_a_module_is_not_hidden(folder):
    (folder / "shop.py").write_text("import shop_database")

    with pytest.raises(ModuleNotFoundError, match="shop_database"):
        load_handlers(["shop"])


def test_modules_without_a_handler_are_refused(folder):
    (folder / "shop.py").write_text("")

    with pytest.raises(HandlersNotLoaded, match=r"^shop registers no handler; put @handles"):
        load_handlers(["shop"])


@pytest.mark.parametrize("status", ["404", 200, 399, 600, None])
def test_a_handler_error_has_the_status_of_an_error(status):
    with pytest.raises(ValueError, match="expected a status from 400 to 599"):
        HandlerError(status, "no")


@pytest.mark.parametrize("detail", [ValueError("sold out"), b"sold out", {"sold out"}])
def test_the_detail_of_a_handler_error_may_be_of_any_type(detail):
    reply = HandlerError(409, detail).reply_to(Request("id", "orders", "replies", 0))

    assert "sold out" in json.loads(reply.body)["detail"]
