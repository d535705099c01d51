"""A replies process whose poll() never returns after ten records."""

import functools
import threading
from typing import Any

from kafka import KafkaConsumer

import replies.__main__ as replies_main
from rendezvous.process.watchdog import Watchdog

RECORDS = 10
#: Limit of the watchdog in seconds, shorter than the default.
LIMIT_S = 2.0

poll = KafkaConsumer.poll
seen = 0


def poll_then_hang(self: KafkaConsumer, **arguments: Any) -> Any:
    """Call the original poll(), and block forever after RECORDS records."""
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
