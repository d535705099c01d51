"""The attacks: what they send, and that each runs for its time."""

import asyncio
import re
import time

import pytest

from tools.attack.attacks import bodies, framing, requests, unread, wire
from tools.attack.attacks.table import ATTACKS, describe
from tools.attack.attacks.wire import Target, hold, pace
from tools.attack.programs.attacker import attack

REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
ECHOED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Accepts connections, answers the first bytes of each with *response*, and closes."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self.connections = 0
        self.received = b""

    async def run(self, use) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            await use(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.received += await reader.read(1_000)
            writer.write(self._response)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_connects_and_ends_in_time(name: str):
    server = Server(REFUSAL)
    target = []

    async def use(port: int) -> None:
        target.append(Target(port))
        await attack(name, target[0], 20, 0.5)

    started_s = time.monotonic()
    asyncio.run(server.run(use))

    assert server.connections > 0
    assert target[0].counts["attempts"] > 0
    assert time.monotonic() - started_s < 3


def test_each_attack_is_described():
    assert all(attack.summary.endswith(".") for attack in ATTACKS.values())
    assert len(describe().splitlines()) == len(ATTACKS)


def test_held_connections_are_limited_to_their_number():
    active, most = 0, 0

    async def one(_: int) -> None:
        nonlocal active, most
        active += 1
        most = max(active, most)
        await asyncio.sleep(0.05)
        active -= 1

    asyncio.run(for_seconds(0.3, lambda: hold(Target(1), 7, one)))

    assert most == 7


def test_connections_are_replaced_at_a_limited_pace():
    target = Target(1)

    async def one(_: int) -> None:
        raise ConnectionRefusedError

    asyncio.run(for_seconds(0.4, lambda: hold(target, 1_000, one)))

    assert 20 <= target.counts["attempts"] <= 0.5 * wire.NEW_PER_S


def test_a_pace_is_kept_and_refusals_are_counted():
    target = Target(1)

    async def one(_: int) -> None:
        raise ConnectionRefusedError

    asyncio.run(for_seconds(0.5, lambda: pace(target, 100, one)))

    assert 20 <= target.counts["attempts"] <= 52
    assert target.counts["ConnectionRefusedError"] == target.counts["attempts"]


async def for_seconds(duration_s: float, run) -> None:
    try:
        async with asyncio.timeout(duration_s):
            await run()
    except TimeoutError:
        pass


@pytest.mark.parametrize(
    "body", [bodies.tiny_chunks_body, bodies.extensions_body, bodies.trailers_body]
)
@pytest.mark.parametrize("size", bodies.SIZES)
def test_chunked_bodies_have_about_the_wanted_size(body, size: int):
    assert 0.99 * size < len(body(size)) < 1.01 * size
    assert body(size).endswith(b"\r\n\r\n")


def test_every_hidden_request_is_behind_a_different_malformed_one():
    shapes = framing.hidden_shapes()

    assert len(set(shapes)) == len(shapes) == ATTACKS["hidden"].number
    for shape in shapes:
        assert shape.startswith(framing.POST)
        assert shape.endswith(framing.HIDDEN)
        broken = shape[len(framing.POST) : -len(framing.HIDDEN)]
        assert re.search(rb"[^\r]\n|\r[^\n]|\x00", broken)


@pytest.mark.parametrize(
    ("received", "served"),
    [
        (b"", ""),
        (REFUSAL, ""),
        (ECHOED, ""),
        (ECHOED * 2, framing.BROKEN_ACCEPTED),
        (REFUSAL + ECHOED, framing.HIDDEN_SERVED),
    ],
)
def test_a_second_response_means_that_the_hidden_request_was_served(received: bytes, served: str):
    assert framing.hidden_served(received) == served


def test_the_largest_file_of_the_documentation_is_found():
    async def use(port: int) -> None:
        found.append(await unread.largest_file(Target(port)))

    found: list[str] = []
    asyncio.run(Server(REFUSAL + b'<script src="docs/1a/x.js"></script>').run(use))

    assert found == ["/docs/1a/x.js"]


def test_forged_ids_differ():
    assert requests.forged_request() != requests.forged_request()
