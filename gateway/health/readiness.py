"""
Whether a request would succeed now, and if not, what is missing, in words.

The checks run in the background, one thread each, so that the answer is there at once whatever
hangs.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from gateway.exchange.publisher import RequestPublisher
from gateway.health.reply_path import ReplyPathHealth

logger = logging.getLogger(__name__)

CHECK_PAUSE_S = 1.0
#: An answer older than this says that the check itself hangs.
STALE_AFTER_S = 5.0


class Check:
    """One question, asked again and again; None is the good answer."""

    def __init__(self, subject: str, ask: Callable[[], str | None]) -> None:
        self._subject = subject
        self._ask = ask
        self._answer: str | None = f"{subject} has not been asked yet"
        self._answered_s = time.monotonic()
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        self._closing.clear()
        self._answered_s = time.monotonic()
        threading.Thread(target=self._run, name=f"check-{self._subject}", daemon=True).start()

    def close(self) -> None:
        """Stop asking."""
        self._closing.set()

    def problem(self) -> str | None:
        """Return what is wrong, or None."""
        age_s = time.monotonic() - self._answered_s
        if age_s > STALE_AFTER_S:
            return f"{self._subject} has not answered for {age_s:.0f} s"
        return self._answer

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                answer = self._ask()
            except Exception as error:
                # Without its thread this process would never be ready again.
                logger.exception("asking %s failed", self._subject)
                answer = f"asking {self._subject} failed: {error}; the log has the cause"
            if answer != self._answer:
                logger.log(
                    logging.INFO if answer is None else logging.WARNING,
                    "%s: %s",
                    self._subject,
                    answer or "ready",
                )
            self._answer, self._answered_s = answer, time.monotonic()
            self._closing.wait(CHECK_PAUSE_S)


class Readiness:
    """
    The state of everything that a request needs.

    Args:
        checks: what to ask.
        draining: says whether the server stops.
        reply_path_health: knows what does not keep requests from succeeding, yet should be seen to.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        draining: Callable[[], bool],
        reply_path_health: ReplyPathHealth | None = None,
    ) -> None:
        self._checks = checks
        self._draining = draining
        self._way_back = reply_path_health

    @classmethod
    def of(
        cls,
        publisher: RequestPublisher,
        request_topics: Sequence[str],
        reply_path_health: ReplyPathHealth,
        draining: Callable[[], bool],
    ) -> "Readiness":
        """Return the readiness of a gateway that publishes to *request_topics*."""
        topics = [*request_topics, reply_path_health.topic]
        kafka = Check("Kafka", lambda: _ask_kafka(publisher, topics))
        return cls((kafka, Check("Redis", reply_path_health.ask)), draining, reply_path_health)

    def start(self) -> None:
        """Begin to check."""
        for check in self._checks:
            check.start()

    def close(self) -> None:
        """Stop checking."""
        for check in self._checks:
            check.close()

    def problems(self) -> list[str]:
        """Return what keeps a request from succeeding, each in a sentence; empty when ready."""
        found = [problem for check in self._checks if (problem := check.problem()) is not None]
        return ["this process is shutting down", *found] if self._draining() else found

    def warnings(self) -> list[str]:
        """Return what should be seen to although requests succeed, each in a sentence."""
        found = None if self._way_back is None else self._way_back.warning
        return [] if found is None else [found]


def _ask_kafka(publisher: RequestPublisher, topics: Sequence[str]) -> str | None:
    try:
        publisher.check(topics)
    except ConnectionError as error:
        return f"broker not reached: {error}"
    except PermissionError as error:
        return f"topic denied: {error}; grant Describe and, but for the reply topic, Write on it"
    except LookupError as error:
        return f"topic missing: {error}; create it"
    return None
