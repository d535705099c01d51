"""Concurrent requests with idempotency keys, and a responder that counts its effects."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.support.deployment import Deployment, Gateway, Response
from tests.support.scripted_responder import ScriptedResponder, correlation_id

#: Number of clients that send the same key at the same time.
REPEATS = 3
#: Number of keys in flight at once.
KEYS_AT_ONCE = 8
#: Headers in which a replay may differ from the first response.
VARIABLE_HEADERS = {"date", "idempotent-replayed", "connection"}

Responses = dict[str, list[Response]]


class CountingResponder:
    """A responder to /echo that counts its effects; no two replies are equal."""

    def __init__(self) -> None:
        #: Number of effects by request body.
        self.by_body: Counter[str] = Counter()

    def started_for(self, deployment: Deployment) -> ScriptedResponder:
        return ScriptedResponder.of(deployment, "echo", self._handle)

    def _handle(self, responder: ScriptedResponder, record: Any) -> None:
        self.by_body[record.value.decode()] += 1
        number = self.by_body.total()
        headers = [("correlation-id", correlation_id(record)), ("status", b"201")]
        headers.append(("x-effect", b"%d" % number))
        responder.reply(b"effect %d, of %s" % (number, record.value), headers)


def send_all(
    gateways: Sequence[Gateway],
    keys: Sequence[str],
    send: Callable[[Gateway, str], Response | None],
) -> Responses:
    """
    Call *send* REPEATS times at once for each of *keys*, with alternating gateways.

    Returns the responses by key, in the order of sending.
    """
    jobs = [
        (gateways[(number + n) % len(gateways)], key)
        for number, key in enumerate(keys)
        for n in range(REPEATS)
    ]
    with ThreadPoolExecutor(REPEATS * KEYS_AT_ONCE) as clients:
        found = list(clients.map(lambda job: send(*job), jobs))
    responses: Responses = {key: [] for key in keys}
    for (_, key), response in zip(jobs, found, strict=True):
        if response is not None:
            responses[key].append(response)
    return responses


def send(gateway: Gateway, key: str) -> Response:
    """Post to /echo with *key* as idempotency key and as body."""
    return gateway.post("/echo", key.encode(), Idempotency_Key=key)


def send_with_retries(
    until_s: float, limit_per_key_s: float, given_up: set[str]
) -> Callable[[Gateway, str], Response | None]:
    """
    Return a function like send() that retries after 503s and broken connections.

    Args:
        until_s: monotonic time after which it returns None.
        limit_per_key_s: maximum time per key.
        given_up: receives the keys whose maximum time has passed.
    """

    def send_until_replied(gateway: Gateway, key: str) -> Response | None:
        give_up_s = time.monotonic() + limit_per_key_s
        while time.monotonic() < min(give_up_s, until_s):
            try:
                response = send(gateway, key)
            except (OSError, http.client.HTTPException):
                continue
            if response.status != 503:
                return response
        if give_up_s <= until_s:
            given_up.add(key)
        return None

    return send_until_replied


def are_equal(responses: Sequence[Response]) -> bool:
    """Return whether all responses are equal but for VARIABLE_HEADERS."""
    return all(_content(response) == _content(responses[0]) for response in responses)


def _content(response: Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = [(n, v) for n, v in response.headers.items() if n.lower() not in VARIABLE_HEADERS]
    return response.status, response.body, sorted(headers)


def replays(responses: Sequence[Response]) -> int:
    """Return the number of replays among *responses*."""
    return sum(response.headers["Idempotent-Replayed"] == "true" for response in responses)


@contextmanager
def every(interval_s: float, act: Callable[[], object]) -> Iterator[None]:
    """Call *act* in the background every *interval_s* seconds while the block runs."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(interval_s):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
