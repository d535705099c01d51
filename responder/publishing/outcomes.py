"""OutcomePublisher: publishes the reply to a request, its dead letter, or both."""

import threading
import time
from collections.abc import Callable
from typing import Any

from rendezvous.contract import Reply, Request
from responder.publishing.dead_letters import DeadLetters
from responder.publishing.failure import Failure
from responder.publishing.replies import ReplyPublisher


class OutcomePublisher:
    """
    Publishes replies and dead letters. Safe to use from several threads.

    Args:
        dead_letters: None to dead-letter nothing.
    """

    def __init__(self, replies: ReplyPublisher, dead_letters: DeadLetters | None) -> None:
        self._replies = replies
        self._dead_letters = dead_letters

    def publish(
        self, record: Any, request: Request, reply: Reply, on_end: Callable[[], None]
    ) -> None:
        """
        Publish *reply* to the *request* in *record*, and its dead letter if it failed.

        A request without a reply topic gets no reply.
        """
        failure = Failure.from_text(reply.detail)
        if not request.reply_topic:
            if failure is None:
                on_end()
            else:
                self.dead_letter(record, failure, on_end)
            return
        if failure is None or self._dead_letters is None:
            self._replies.publish(request, reply, on_end)
            return
        end_one = _Countdown(2, on_end).end_one
        self._replies.publish(request, reply, end_one)
        self._dead_letters.publish(record, failure, end_one)

    def dead_letter(self, record: Any, failure: Failure, on_end: Callable[[], None]) -> None:
        """Publish the dead letter of *record*, if there is a topic for it."""
        if self._dead_letters is None:
            on_end()
        else:
            self._dead_letters.publish(record, failure, on_end)

    def close(self, within_s: float) -> None:
        """Return once everything is acknowledged, or after *within_s*; then publish nothing."""
        give_up_s = time.monotonic() + within_s
        self._replies.close(give_up_s)
        if self._dead_letters is not None:
            self._dead_letters.close(give_up_s)


class _Countdown:
    """Calls *on_end* at the last of *count* calls of end_one(), from any threads."""

    def __init__(self, count: int, on_end: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._count = count
        self._on_end = on_end

    def end_one(self) -> None:
        with self._lock:
            self._count -= 1
            is_last = self._count == 0
        if is_last:
            self._on_end()
