"""Failure: why a request was dead-lettered."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Why a record is in the dead-letter topic."""

    MALFORMED = "malformed"  # it is not a request
    REFUSED = "reply-topic-refused"  # its reply topic is not allowed
    HANDLER_FAILED = "handler-failed"  # the handler raised, or returned no valid reply
    RETRIES_EXHAUSTED = "retries-exhausted"  # the handler asked for another attempt each time
    NOT_ANSWERED = "not-answered"  # its reply could not be published


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Why a request failed.

    Args:
        exception: class of the exception. Its text may contain secrets and is for the log alone.
        attempts: how often the handler ran for this delivery.
        detail: what is wrong with a malformed record, without its values.
    """

    reason: Reason
    exception: str = ""
    attempts: int = 0
    detail: str = ""

    @classmethod
    def by(cls, reason: Reason, error: BaseException, attempts: int) -> Self:
        """Return the failure that *error* caused."""
        kind = type(error)
        return cls(reason, f"{kind.__module__}.{kind.__qualname__}", attempts)

    def to_text(self) -> str:
        """Return it as text, for from_text()."""
        return json.dumps({"dead_letter": [self.reason, self.exception, self.attempts]})

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Return the failure in *text*; None if there is none."""
        if not text:
            return None
        try:
            reason, exception, attempts = json.loads(text)["dead_letter"]
            return cls(Reason(reason), str(exception), int(attempts))
        except (LookupError, RecursionError, TypeError, ValueError):
            return None
