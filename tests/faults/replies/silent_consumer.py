"""
A replies process or a responder whose consumer fetches nothing more after ten records.

Usage: python -m tests.faults.replies.silent_consumer replies|responder
"""

import runpy
import sys
from collections.abc import Mapping
from typing import Any

from rendezvous.kafka_client.consuming import stalls
from rendezvous.kafka_client.patches.consumer import PatchedConsumer

RECORDS = 10
#: Times in seconds: a stall is logged soon, and ends after readiness has noticed it.
STALL_S, REOPEN_S, ASK_INTERVAL_S = 2.0, 20.0, 1.0


class SilentConsumer(PatchedConsumer):
    """A consumer that falls silent after RECORDS records; the second one does not."""

    opened = 0

    def __init__(self, *topics: str, **options: Any) -> None:
        super().__init__(*topics, **options)
        SilentConsumer.opened += 1
        self._falls_silent = SilentConsumer.opened == 1
        self._seen = 0

    def poll(self, *args: Any, **options: Any) -> Mapping[Any, Any]:
        """Return the next records, if it still fetches."""
        batch: Mapping[Any, Any] = super().poll(*args, **options)
        self._seen += sum(map(len, batch.values()))
        if self._falls_silent and self._seen >= RECORDS:
            self._fetcher.send_fetches = list
        return batch


if __name__ == "__main__":
    stalls.STALL_S, stalls.REOPEN_S, stalls.ASK_INTERVAL_S = STALL_S, REOPEN_S, ASK_INTERVAL_S
    import rendezvous.kafka_client.patches.consumer as patches

    patches.PatchedConsumer = SilentConsumer  # type: ignore[misc]
    # The process takes options of its own from the command line.
    runpy.run_module(sys.argv.pop(1), run_name="__main__")
