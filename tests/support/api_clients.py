"""Clients with API keys of their own, on the same gateways."""

import http.client
import json
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gateway.clients.api_keys import hash_of, new_key
from tests.support.deployment import Gateway, Response, exchange
from tools.devstack.ports import LOOPBACK

_AN_ID = re.compile(r"[0-9a-f]{8}\.[A-Za-z0-9_.-]{40,}")


@dataclass
class Tenant:
    """
    A client with a key, and what became of its requests.

    ``endings`` counts "own", "another's" and statuses; ``ids`` are those of its answers.
    """

    name: str
    key: str = field(default_factory=new_key)
    endings: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def send(self, gateways: Sequence[Gateway], requests: int, connections: int) -> None:
        """Send so many echoes over so many connections; others choose the same ids for theirs."""
        with ThreadPoolExecutor(connections) as pool:
            for part in pool.map(
                lambda number: self._send(
                    gateways[number % len(gateways)], range(number, requests, connections)
                ),
                range(connections),
            ):
                for ending, correlation_id in part:
                    self.endings[ending] += 1
                    self.ids.append(correlation_id)

    def get(self, gateway: Gateway, correlation_id: str) -> Response:
        """Ask for the reply to *correlation_id*."""
        return gateway.request("GET", f"/replies/{correlation_id}", headers=self.authorization)

    def _send(self, gateway: Gateway, numbers: range) -> list[tuple[str, str]]:
        connection = http.client.HTTPConnection(LOOPBACK, gateway.port, timeout=60)
        found = []
        for n in numbers:
            headers = self.authorization | {
                "X-Request-ID": f"request-{n}",
                "X-Correlation-ID": f"request-{n}",
                "Idempotency-Key": f'"order-{n}"',
            }
            body = f"request {n} of {self.name}".encode()
            response = exchange(connection, "POST", "/echo", body, headers)
            found.append((_ending(response, body), response.headers["X-Correlation-ID"] or ""))
        connection.close()
        return found


def table_of(*tenants: Tenant, **more: str) -> str:
    """Return the table of *tenants* for API_KEYS; *more* holds lines for some, by name."""
    return "\n".join(
        f'[[client]]\nname = "{tenant.name}"\nkeys = ["{hash_of(tenant.key)}"]\n'
        + more.get(tenant.name, "")
        for tenant in tenants
    )


def send_all(tenants: Sequence[Tenant], gateways: Sequence[Gateway], requests: int) -> None:
    """Have each of *tenants* send so many requests, all of them at the same time."""
    with ThreadPoolExecutor(len(tenants)) as pool:
        list(pool.map(lambda tenant: tenant.send(gateways, requests, connections=4), tenants))


def in_other_words(response: Response) -> tuple[int, str, frozenset[str]]:
    """Return what a client can see of *answer*, with each id replaced."""
    body = _AN_ID.sub("<id>", json.dumps(response.json, sort_keys=True))
    return response.status, body, frozenset(name.lower() for name in response.headers)


def _ending(response: Response, body: bytes) -> str:
    if response.status != 200:
        return str(response.status)
    return "own" if response.body == body else "another's"
