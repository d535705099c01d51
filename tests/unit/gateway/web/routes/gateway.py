"""The gateway of the tests of routes, and assertions about its responses."""

from dataclasses import dataclass, field
from typing import Any

from gateway.routing.table import Route

MAX_BODY_BYTES = 1_000
ROUTES = (
    Route("/echo", "prefix.echo"),
    Route("/orders/<order_id>", "orders", ("PUT", "DELETE"), "path:order_id", ("X-Tenant",)),
    Route("/keyed", "keyed", ("POST",), "header:X-Key", ("X-Key", "Accept")),
    Route("/patient", "patient", max_timeout_s=20.0),
    Route("/slow", "slow", timeout_s=5.0, max_timeout_s=8.0),
)


@dataclass
class Gateway:
    """An application, and the fakes behind it."""

    client: Any
    publisher: Any
    poller: Any
    store: Any
    draining: list[bool] = field(default_factory=lambda: [False])

    def request(self, method="POST", path="/echo", **arguments):
        return self.client.open(path, method=method, **arguments)

    @property
    def published(self):
        """The only published request."""
        (request,) = self.publisher.published
        return request


def assert_problem(response, status, kind, sent=None):
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    problem = response.get_json(force=True)
    assert problem["status"] == status
    assert problem["type"] == ("about:blank" if kind is None else f"/problems/{kind}")
    assert problem["title"]
    assert problem["detail"]
    assert problem.get("sent") == sent
    assert problem.get("correlation_id") == response.headers.get("X-Correlation-ID")
    assert problem.get("status_url") == response.headers.get("Location")
    return problem


def assert_retry_after(response):
    assert 1 <= int(response.headers["Retry-After"]) <= 3
