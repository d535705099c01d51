"""
Readiness: whether a request would succeed now, and if not, why.

And whether the cause is this process alone, which another replica would not have.
Each check runs in a background thread, so that /readyz responds at once even if one hangs.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.exchange.publisher import RequestPublisher
from gateway.exchange.waiting.partition_reader import PartitionReader
from gateway.health.reply_path import ReplyPathHealth
from gateway.metrics import CHECK_FAILS

logger = logging.getLogger(__name__)

#: Pause between two runs of a check, in seconds.
CHECK_PAUSE_S = 1.0
#: Age in seconds from which a result counts as missing: the check hangs.
STALE_AFTER_S = 5.0
#: Age in seconds from which no hanging server, proxy or DNS explains it: this process is broken.
STUCK_AFTER_S = 120.0


class Check:
    """
    A check that runs repeatedly in a thread.

    Args:
        subject: what is checked, for messages.
        find_problem: returns what is wrong, or None.
        optional: whether most requests succeed in spite of a problem; then no metric shows it.
    """

    def __init__(
        self, subject: str, find_problem: Callable[[], str | None], *, optional: bool = False
    ) -> None:
        self.subject = subject
        self._find_problem = find_problem
        self._problem: str | None = f"{subject} is not checked yet"
        self._has_result = False
        self._checked_s = time.monotonic()
        self._closing = threading.Event()
        self._fails = None if optional else CHECK_FAILS.labels(subject.removeprefix("The ").lower())

    def start(self) -> None:
        """Start the thread."""
        self._closing.clear()
        self._checked_s = time.monotonic()
        threading.Thread(target=self._run, name=f"check-{self.subject}", daemon=True).start()

    def close(self) -> None:
        """Stop the thread after its current run."""
        self._closing.set()

    def problem(self) -> str | None:
        """Return what is wrong, or None."""
        age_s = time.monotonic() - self._checked_s
        found = self._problem
        if age_s > STALE_AFTER_S:
            found = f"{self.subject} has not answered for {age_s:.0f} s; check whether it hangs"
        # Here too, since a check that hangs cannot.
        self._show(found)
        return found

    def local_problem(self) -> str | None:
        """Return what is wrong with this process, whatever the server answers, or None."""
        age_s = time.monotonic() - self._checked_s
        if age_s > STUCK_AFTER_S:
            return (
                f"the check of {self.subject} has been stuck for {age_s:.0f} s; "
                "restart this process"
            )
        if not self._has_result and age_s <= STALE_AFTER_S:
            return f"{self.subject} is not checked yet"
        return None

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                problem = self._find_problem()
            except Exception as error:
                # Without its thread this process would never be ready again.
                logger.exception("the check of %s failed", self.subject)
                problem = f"the check of {self.subject} failed: {error}; see the log"
            if problem != self._problem:
                level = logging.INFO if problem is None else logging.WARNING
                logger.log(level, "%s: %s", self.subject, problem or "ready")
            self._problem, self._checked_s = problem, time.monotonic()
            self._has_result = True
            self._show(problem)
            self._closing.wait(CHECK_PAUSE_S)

    def _show(self, problem: str | None) -> None:
        if self._fails is not None:
            self._fails.set(problem is not None)


class TokenKeys(Protocol):
    """The keys of a token issuer; see KeySource."""

    def problem(self) -> str | None:
        """Return why there are none, or None."""

    def warning(self) -> str | None:
        """Return why they may be outdated, or None."""


class Readiness:
    """
    The problems of everything that a request needs.

    Args:
        checks: started and closed with it.
        draining: returns whether the server drains.
        reply_path_health: has the warnings.
        optional: checks whose problems are warnings, since most requests succeed nevertheless.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        draining: Callable[[], bool],
        reply_path_health: ReplyPathHealth | None = None,
        optional: Sequence[Check] = (),
    ) -> None:
        self._checks = checks
        self._optional = optional
        self._draining = draining
        self._reply_path_health = reply_path_health

    @classmethod
    def of(
        cls,
        publisher: RequestPublisher,
        topics: Sequence[str],
        draining: Callable[[], bool],
        reply_path_health: ReplyPathHealth | None,
        reader: PartitionReader | None = None,
        *,
        needs_redis: bool = True,
        token_keys: TokenKeys | None = None,
    ) -> "Readiness":
        """
        Return the readiness of a gateway.

        Args:
            topics: of its requests and their replies.
            reply_path_health: that of replies through Redis; None without Redis.
            reader: reads the replies that come straight from Kafka; None if none do.
            needs_redis: whether some requests fail without Redis.
            token_keys: those that verify tokens; None if no client has a token.
        """
        checks = [Check("Kafka", lambda: _kafka_problem(publisher, topics))]
        if reader is not None:
            checks.append(Check("The reply topic", reader.problem))
        optional: list[Check] = []
        if reply_path_health is not None:
            redis = Check("Redis", reply_path_health.problem, optional=not needs_redis)
            (checks if needs_redis else optional).append(redis)
        if token_keys is not None:
            checks.append(Check("JWT_JWKS_URL", token_keys.problem))
            optional.append(Check("JWT_JWKS_URL", token_keys.warning, optional=True))
        return cls(checks, draining, reply_path_health, optional)

    def start(self) -> None:
        """Start the checks."""
        for check in (*self._checks, *self._optional):
            check.start()

    def close(self) -> None:
        """Stop the checks."""
        for check in (*self._checks, *self._optional):
            check.close()

    def problems(self) -> list[str]:
        """Return what keeps requests from succeeding, a sentence each; empty when ready."""
        found = [problem for check in self._checks if (problem := check.problem()) is not None]
        return [*self._shutdown(), *found]

    def local_problems(self) -> list[str]:
        """Return the problems that other replicas need not have; without addresses and causes."""
        checks = (*self._checks, *self._optional)
        found = [problem for check in checks if (problem := check.local_problem())]
        return [*self._shutdown(), *found]

    def subjects(self) -> list[str]:
        """Return what is not ready, in words without addresses, topics and causes."""
        found = [f"{check.subject} is not ready" for check in self._checks if check.problem()]
        return [*self._shutdown(), *found]

    def warnings(self) -> list[str]:
        """Return what should be corrected although requests succeed, a sentence each."""
        found = [problem for check in self._optional if (problem := check.problem()) is not None]
        return found + (self._reply_path_health.warnings() if self._reply_path_health else [])

    def _shutdown(self) -> list[str]:
        return ["this process is shutting down"] if self._draining() else []


def _kafka_problem(publisher: RequestPublisher, topics: Sequence[str]) -> str | None:
    try:
        publisher.check(topics)
    except ConnectionError as error:
        return f"no broker reachable: {error}"
    except PermissionError as error:
        return f"topic denied: {error}; grant Describe on it, and Write if requests go there"
    except LookupError as error:
        return f"topic missing: {error}; create it"
    return None
