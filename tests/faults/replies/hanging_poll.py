"""A replies process whose library hangs: after ten records poll() does not return any more."""

import functools
import threading
from typing import Any

from kafka import KafkaConsumer

import replies.__main__ as replies_main
from rendezvous.process.watchdog import Watchdog

RECORDS = 10
#: The product's own limit is longer than a test should take.
LIMIT_S = 2.0

poll = KafkaConsumer.poll
seen = 0


def poll_then_hang(self: KafkaConsumer, **arguments: Any) -> Any:
    """Return what poll() does, until enough has been seen."""
    global seen
    if seen >= RECORDS:
        threading.Event().wait()
    batch = poll(self, **arguments)
    seen += sum(map(len, batch.values()))
    return batch


if __name__ == "__main__":
    KafkaConsumer.poll = poll_then_hang
    replies_main.Watchdog = functools.partial(Watchdog, limit_s=LIMIT_S)  # type: ignore[assignment,attr-defined]
    replies_main.main()
