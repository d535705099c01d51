"""
How our Kafka clients wait for sockets: no longer than they have to.

kafka-python waits until a socket can be written to before it writes anything. Mostly it can at
once, and what that costs is a turn of the client's whole loop, in the middle of every request.
"""

import select
from collections.abc import Iterator
from typing import Any

from kafka.net.compat import KafkaNetClient
from kafka.net.selector import NetworkSelector

from rendezvous.kafka_client.patches.fast_selector import FastSelector

READY_NOW = 0  # milliseconds


class PromptNetwork(NetworkSelector):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's event loop, in which whoever can write does not wait."""

    def wait_write(self, fileobj: Any, timeout_at: float | None = None) -> Any:
        """Return what is to be awaited before *fileobj* is written to."""
        return _AT_ONCE if _is_writable(fileobj) else super().wait_write(fileobj, timeout_at)


def prompt_client(**options: Any) -> KafkaNetClient:
    """Return a client on a prompt network, for the ``kafka_client`` option of kafka-python."""
    options |= {"selector": FastSelector}
    return KafkaNetClient(net=PromptNetwork(**options), **options)


class _AtOnce:
    """What need not be waited for."""

    def __await__(self) -> Iterator[None]:
        return iter(())


_AT_ONCE = _AtOnce()


def _is_writable(fileobj: Any) -> bool:
    """Say whether a write would tell something now: that it went well, or that it failed."""
    poll = select.poll()
    poll.register(fileobj, select.POLLOUT)
    return bool(poll.poll(READY_NOW))
