"""Requests with idempotency keys, several at a time with each, and the effects that they have."""

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

#: How many clients send each key at the same time.
SENDS = 3
#: Of how many keys requests are under way at once.
KEYS_AT_ONCE = 8
#: What the repeats of an answer may differ in: when it was given, whether it is a repeat, and
#: whether the connection is kept.
OF_THE_MOMENT = {"date", "idempotent-replayed", "connection"}

Answers = dict[str, list[Response]]


class Effects:
    """A Service B whose every request has an effect: no two of its replies are equal."""

    def __init__(self) -> None:
        #: How many effects there were of each body.
        self.of: Counter[str] = Counter()

    def responder(self, deployment: Deployment) -> ScriptedResponder:
        """Return the responder to the echo topic of *deployment* that has them."""
        return ScriptedResponder.of(deployment, "echo", self._have)

    def _have(self, responder: ScriptedResponder, record: Any) -> None:
        key = record.value.decode()
        self.of[key] += 1
        number = sum(self.of.values())
        headers = [("correlation-id", correlation_id(record)), ("status", b"201")]
        headers.append(("x-effect", b"%d" % number))
        responder.reply(b"effect %d, of %s" % (number, record.value), headers)


def send_all(
    gateways: Sequence[Gateway],
    keys: Sequence[str],
    send: Callable[[Gateway, str], Response | None],
) -> Answers:
    """
    Have *send* called SENDS times at once for each of *keys*, with alternating gateways.

    Returns the answers by key, in the order in which they were sent.
    """
    jobs = [
        (gateways[(number + n) % len(gateways)], key)
        for number, key in enumerate(keys)
        for n in range(SENDS)
    ]
    with ThreadPoolExecutor(SENDS * KEYS_AT_ONCE) as clients:
        found = list(clients.map(lambda job: send(*job), jobs))
    responses: Answers = {key: [] for key in keys}
    for (_, key), response in zip(jobs, found, strict=True):
        if response is not None:
            responses[key].append(response)
    return responses


def send(gateway: Gateway, key: str) -> Response:
    """Post a body that no other key has."""
    return gateway.post("/echo", key.encode(), Idempotency_Key=key)


def send_until(
    until_s: float, patience_s: float, vain: set[str]
) -> Callable[[Gateway, str], Response | None]:
    """
    Return a client that repeats what has not got a reply yet.

    Args:
        until_s: when it stops, by the monotonic clock.
        patience_s: how long it tries one key.
        vain: where it notes the keys that it has tried for so long, in vain.
    """

    def persistent(gateway: Gateway, key: str) -> Response | None:
        give_up_s = time.monotonic() + patience_s
        while time.monotonic() < min(give_up_s, until_s):
            try:
                response = send(gateway, key)
            except (OSError, http.client.HTTPException):
                continue
            if response.status != 503:
                return response
        if give_up_s <= until_s:
            vain.add(key)
        return None

    return persistent


def content(response: Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return what must be the same in all answers to one key."""
    headers = [(n, v) for n, v in response.headers.items() if n.lower() not in OF_THE_MOMENT]
    return response.status, response.body, sorted(headers)


def are_equal(responses: Sequence[Response]) -> bool:
    """Say whether all of *answers* tell the same."""
    return all(content(response) == content(responses[0]) for response in responses)


def replays(responses: Sequence[Response]) -> int:
    """Return how many of *answers* say that they repeat another's reply."""
    return sum(response.headers["Idempotent-Replayed"] == "true" for response in responses)


@contextmanager
def every(pause_s: float, act: Callable[[], object]) -> Iterator[None]:
    """Do *act* in the background every *pause_s* seconds while the block runs."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(pause_s):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
