"""The gateway as the unit tests build it: by the composition root, without Kafka and servers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from flask import Flask

from gateway.bootstrap import Gateway, build
from gateway.clients.api_keys import ApiKeys
from gateway.exchange.waiting.poller import Poller
from gateway.health.readiness import Readiness
from gateway.routing.table import Route
from settings import RESERVED_THREADS, Settings

SECRET_KEY = "b1946ac92492d2347c6235b4d2611184"
SETTINGS = Settings.from_env(
    {
        "KAFKA_URL": "127.0.0.1:1",
        "REDIS_URL": "redis://127.0.0.1:1",
        "SECRET_KEY": SECRET_KEY,
        "LIVE_PAGE": "no",  # else each application would start a thread
    }
)


def new_app(
    routes: Sequence[Route],
    poller: Poller,
    publisher: Any,
    redis: Any,
    *,
    api_keys: ApiKeys | None = None,
    draining: Callable[[], bool] = lambda: False,
    max_in_flight: int = 8,
    settings: Settings = SETTINGS,
    parts: dict[str, Any] | None = None,
    **changes: Any,
) -> Flask:
    """Return the application of new_gateway(), with the same arguments."""
    return new_gateway(
        routes,
        poller,
        publisher,
        redis,
        api_keys=api_keys,
        draining=draining,
        max_in_flight=max_in_flight,
        settings=settings,
        parts=parts,
        **changes,
    ).app


def new_gateway(
    routes: Sequence[Route],
    poller: Poller,
    publisher: Any,
    redis: Any,
    *,
    api_keys: ApiKeys | None = None,
    draining: Callable[[], bool] = lambda: False,
    max_in_flight: int = 8,
    settings: Settings = SETTINGS,
    parts: dict[str, Any] | None = None,
    **changes: Any,
) -> Gateway:
    """
    Return a gateway whose poller, publisher and Redis are the test's.

    Args:
        parts: further arguments of build().
        changes: settings that differ from those of the other tests.
    """
    defaults = {"reply_timeout_s": 10.0, "max_body_bytes": 1_000, "idempotency_ttl_s": 60}
    threads = max_in_flight + RESERVED_THREADS
    return build(
        replace(settings, **defaults | {"threads": threads} | changes),
        routes,
        api_keys,
        redis=redis,
        publisher=publisher,
        mailbox=poller._mailbox,
        stored=poller,
        **{"readiness": Readiness((), draining)} | (parts or {}),
    )
