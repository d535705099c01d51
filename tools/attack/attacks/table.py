"""The attacks by name, each with its number at strength 1."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.attack.attacks import (
    bodies,
    connections,
    framing,
    requests,
    threads,
    trickled,
    unread,
)
from tools.attack.attacks.wire import Target


@dataclass(frozen=True)
class Attack:
    """
    One attack.

    Args:
        run: attacks until cancelled; takes the target and the number.
        number: at strength 1.
        unit: of the number.
        env: settings of the gateway that differ from the defaults.
        limits_threads: no worker of the gateway may start a thread meanwhile.
    """

    run: Callable[[Target, int], Awaitable[None]]
    number: int
    unit: str
    env: Mapping[str, str] = field(default_factory=dict)
    limits_threads: bool = False

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.run.__doc__ or "").strip()


CONNECTIONS, PER_PERIOD, PER_S = "connections", "in 10 s", "in 1 s"
#: A route with a JSON Schema, which the shipped routes.toml does not have.
CHECKED_ROUTES = str(Path(__file__).parents[1] / "routes.toml")

ATTACKS: Mapping[str, Attack] = {
    "control": Attack(connections.nothing, 1, CONNECTIONS),
    "malformed-json": Attack(framing.malformed, 128, PER_PERIOD, {"LOG_FORMAT": "json"}),
    "malformed-text": Attack(framing.malformed, 128, PER_PERIOD),
    "hidden": Attack(framing.hidden, 56, PER_PERIOD),
    "tiny-chunks": Attack(bodies.tiny_chunks, 2, PER_PERIOD),
    "chunk-extensions": Attack(bodies.chunk_extensions, 2, PER_PERIOD),
    "trailers": Attack(bodies.trailers, 2, PER_PERIOD),
    "unfinished": Attack(bodies.unfinished, 81, CONNECTIONS),
    "slow-schema": Attack(bodies.slow_schema, 1, PER_PERIOD, {"ROUTES_FILE": CHECKED_ROUTES}),
    "trickled-heads": Attack(trickled.trickled_heads, 20, CONNECTIONS),
    "trickled-chunks": Attack(trickled.trickled_chunks, 20, CONNECTIONS),
    "unread-bundle": Attack(unread.unread_bundle, 300, CONNECTIONS),
    "pipelined": Attack(unread.pipelined, 1, CONNECTIONS),
    "silent": Attack(connections.silent, 640, CONNECTIONS),
    "storm": Attack(connections.storm, 50, PER_S),
    "big-heads": Attack(requests.big_heads, 10, PER_S),
    "forged-replies": Attack(requests.forged_replies, 20, CONNECTIONS),
    "threads": Attack(threads.slow_orders, 4, CONNECTIONS, limits_threads=True),
}


def describe() -> str:
    """Return a line for each attack."""
    return "\n".join(
        f"  {name:17} {attack.number:4} {attack.unit:11}  {attack.summary}"
        for name, attack in ATTACKS.items()
    )
