"""Gateway processes that share one Redis, and assertions about their responses."""

from dataclasses import dataclass
from typing import Any

from gateway.exchange.breaker.topic_breaker import Breakers
from gateway.exchange.claims import Claims
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.routing.table import Route
from rendezvous.errors import StoreUnavailable
from tests.fakes import FakePublisher, eventually

TTL_S = 600
PATIENT_S, HASTY_S = 10.0, 0.2
ROUTES = (
    Route("/orders", "orders"),
    Route("/hasty", "hasty", timeout_s=HASTY_S),
    Route("/strict", "strict", idempotency="required"),
    Route("/keyed", "keyed", key="header:X-Key"),
)


class FailingClaims(Claims):
    """Claims whose methods in *failing* raise: release() before Redis acts, the others after it."""

    def __init__(self, redis: Any, deployment: str) -> None:
        super().__init__(redis, deployment)
        self.failing: set[str] = set()

    def take(self, *args: Any) -> Any:
        return self._result("take", super().take(*args))

    def confirm(self, *args: Any) -> Any:
        return self._result("confirm", super().confirm(*args))

    def current(self, *args: Any) -> Any:
        return self._result("current", super().current(*args))

    def release(self, *args: Any) -> None:
        self._result("release", None)
        super().release(*args)

    def _result(self, method: str, result: Any) -> Any:
        if method in self.failing:
            raise StoreUnavailable("Redis does not answer")
        return result


@dataclass
class Gateway:
    """One gateway process with its own fake broker."""

    app: Any
    publisher: FakePublisher
    mailbox: Mailbox
    breakers: Breakers
    claims: FailingClaims

    def post(self, key: str | None = "k", path: str = "/orders", data: bytes = b"tea", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Idempotency-Key"] = key
        return self.app.test_client().post(path, data=data, headers=named)

    @property
    def published(self):
        return self.publisher.published

    def waiters(self) -> int:
        return sum(waiter.clients for waiter in list(self.mailbox._waiters.values()))


def silent(request):
    return None


def published_without_reply(gateway, pool, **options):
    """Return the future response to a request that is published and gets no reply."""
    gateway.publisher.responder = silent
    pending = pool.submit(gateway.post, **options)
    eventually(lambda: gateway.published)
    return pending


def assert_same(first, again):
    """Assert that *again* equals *first* and is marked as a replay."""
    assert (again.status_code, again.data) == (first.status_code, first.data)
    others = [header for header in again.headers if header[0] != "Idempotent-Replayed"]
    assert others == list(first.headers)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
