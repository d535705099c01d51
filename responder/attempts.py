"""Attempts: how often a handler is called for one delivery of a request."""

from dataclasses import dataclass, replace
from typing import Self

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from responder.publishing.failure import Failure, Reason
from responder.registry import Retry

#: Pause before the second attempt if the handler names none, in seconds; doubled for each further.
FIRST_PAUSE_S = 0.1
#: Maximum of these pauses, in seconds.
MAX_PAUSE_S = 5.0
#: Minimum value of Retry-After, in seconds.
MIN_RETRY_AFTER_S = 1


class Postponed(Exception):
    """Raised when a request must be handled again after *pause_s*."""

    def __init__(self, pause_s: float, attempts: "Attempts") -> None:
        super().__init__(pause_s)
        self.pause_s = pause_s
        self.attempts = attempts


@dataclass(frozen=True, slots=True)
class Attempts:
    """
    The attempts to handle one delivery.

    Args:
        maximum: number of attempts.
        begun: number of those that have begun.
        exception: class of the exception that ended the last one.
        detail: for the client, if no attempt is left.
    """

    maximum: int
    begun: int = 0
    exception: str = ""
    detail: str = ""

    def next(self) -> Self:
        """Return it with one more attempt."""
        return replace(self, begun=self.begun + 1)

    def postpone(self, request: Request, error: Retry) -> Self:
        """
        Return it with *error* noted, when no attempt is left before the deadline of *request*.

        Raises:
            Postponed: when one is left.
        """
        cause = error if error.__cause__ is None else error.__cause__
        failure = Failure.by(Reason.RETRIES_EXHAUSTED, cause, self.begun)
        noted = replace(self, exception=failure.exception, detail=error.detail)
        pause_s = error.after_s
        if pause_s is None:
            pause_s = min(FIRST_PAUSE_S * 2 ** (self.begun - 1), MAX_PAUSE_S)
        if self.begun < self.maximum and epoch_ms() + pause_s * 1000 < request.deadline_ms:
            raise Postponed(pause_s, noted)
        return noted

    def exhausted(self, request: Request) -> Reply:
        """Return the reply to *request*, which no attempt has answered."""
        times = "1 attempt" if self.begun == 1 else f"{self.begun} attempts"
        detail = self.detail or f"the handler of {request.topic} could not finish"
        problem = Reply.problem(
            request, 503, "Try again later", f"{detail} ({times}); send the request again later"
        )
        headers = (*problem.headers, ("retry-after", str(MIN_RETRY_AFTER_S)))
        failure = Failure(Reason.RETRIES_EXHAUSTED, self.exception, self.begun)
        return replace(problem, headers=headers, detail=failure.to_text())
