"""
Writes to a socket at once when it is writable.

Bug: kafka-python 3.0 waits for a socket to become writable before each write. It nearly always is
writable already, and the wait is a turn of the client's whole loop, in the middle of each request.
Reproduce: test_a_writable_socket_is_not_waited_for in tests/unit/rendezvous/kafka_client/patches.
Effect: without it and fast_selector.py a lone client has 0.90 (+-0.04) of the rate, for 1.11
times the CPU of web and replies.
Remove: when the library writes first and waits only for a full socket. On its main branch (3.1)
NetworkSelector has moved to kafka.net.backend.selector and is given as ``net=``; the wait remains.
The seam is public: the option ``kafka_client`` of every client.
"""

import select
from collections.abc import Iterator
from typing import Any

from kafka.net.compat import KafkaNetClient
from kafka.net.selector import NetworkSelector

from rendezvous.kafka_client.patches.assertions import decode_without_assertions
from rendezvous.kafka_client.patches.fast_selector import FastSelector
from rendezvous.kafka_client.patches.msk_iam import name_aws_errors

NO_WAIT_MS = 0


class PromptNetwork(NetworkSelector):  # type: ignore[misc]  # kafka-python has no types
    """The event loop of kafka-python, without the wait for writable sockets."""

    def wait_write(self, fileobj: Any, timeout_at: float | None = None) -> Any:
        """Return the awaitable that precedes a write to *fileobj*."""
        return _NO_WAIT if _is_writable(fileobj) else super().wait_write(fileobj, timeout_at)


def prompt_client(**options: Any) -> KafkaNetClient:
    """Return a client on a PromptNetwork, for the option ``kafka_client`` of kafka-python."""
    # Here, since every client of ours is built with it.
    decode_without_assertions()
    name_aws_errors()
    options |= {"selector": FastSelector}
    return KafkaNetClient(net=PromptNetwork(**options), **options)


class _NoWait:
    """An awaitable that does not suspend."""

    def __await__(self) -> Iterator[None]:
        return iter(())


_NO_WAIT = _NoWait()


def _is_writable(fileobj: Any) -> bool:
    """Return whether a write returns at once, with success or an error."""
    poll = select.poll()
    poll.register(fileobj, select.POLLOUT)
    return bool(poll.poll(NO_WAIT_MS))
