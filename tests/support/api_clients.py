"""Clients with API keys, which send requests to shared gateways."""

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

_CORRELATION_ID = re.compile(r"[0-9a-f]{8}\.[A-Za-z0-9_.-]{40,}")


@dataclass
class ApiClient:
    """
    A client with an API key, and the outcomes of its requests.

    ``outcomes`` counts "own", "another's" and statuses; ``ids`` are the correlation ids.
    """

    name: str
    key: str = field(default_factory=new_key)
    outcomes: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def send(self, gateways: Sequence[Gateway], requests: int, connections: int) -> None:
        """Send *requests* echo requests with the same ids in every client."""
        with ThreadPoolExecutor(connections) as pool:
            for part in pool.map(
                lambda number: self._send(
                    gateways[number % len(gateways)], range(number, requests, connections)
                ),
                range(connections),
            ):
                for outcome, correlation_id in part:
                    self.outcomes[outcome] += 1
                    self.ids.append(correlation_id)

    def get_reply(self, gateway: Gateway, correlation_id: str) -> Response:
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
            found.append((_outcome(response, body), response.headers["X-Correlation-ID"] or ""))
        connection.close()
        return found


def keys_table(*clients: ApiClient, **more: str) -> str:
    """Return API_KEYS for *clients*; *more* holds further lines by client name."""
    return "\n".join(
        f'[[client]]\nname = "{client.name}"\nkeys = ["{hash_of(client.key)}"]\n'
        + more.get(client.name, "")
        for client in clients
    )


def send_all(clients: Sequence[ApiClient], gateways: Sequence[Gateway], requests: int) -> None:
    """Have each client send *requests* echoes, all clients at the same time."""
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(lambda client: client.send(gateways, requests, connections=4), clients))


def without_ids(response: Response) -> tuple[int, str, frozenset[str]]:
    """Return status, body and header names of *response*, correlation ids replaced."""
    body = _CORRELATION_ID.sub("<id>", json.dumps(response.json, sort_keys=True))
    return response.status, body, frozenset(name.lower() for name in response.headers)


def _outcome(response: Response, body: bytes) -> str:
    if response.status != 200:
        return str(response.status)
    return "own" if response.body == body else "another's"
