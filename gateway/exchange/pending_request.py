"""A request on its way to its result, and the times that bound it."""

import time
from dataclasses import dataclass

from rendezvous.contract import Reply, Request


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on the monotonic clock."""

    at_s: float

    @classmethod
    def after(cls, timeout_s: float) -> "Deadline":
        """Return the deadline *timeout_s* from now."""
        return cls(time.monotonic() + timeout_s)

    def remaining_s(self) -> float:
        """Return the seconds that are left; negative once past."""
        return self.at_s - time.monotonic()


@dataclass(frozen=True, slots=True)
class WaitOptions:
    """How to wait for the reply to one request."""

    wait_s: float  # of the client
    deadline_s: float  # after it the responder need not begin any more; at least wait_s
    respond_async: bool = False  # whether the client accepts a 202 without a reply
    owner: str = ""  # client that alone may fetch the reply later; empty for any client
    caller: str = ""  # the user behind that client; part of *owner*
    is_short: bool = False  # whether the client waits less than the route does by default
    has_reply: bool = True  # whether the responder replies
    is_stream: bool = False  # whether the last of several values is the reply
    queued_s: float = 0.0  # the part of both times that has passed already, waiting for a slot


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A request without a reply yet, and the deadlines for it."""

    request: Request
    options: WaitOptions
    wait: Deadline  # of the client
    deadline: Deadline  # of the responder
    has_key: bool = False  # whether others may wait for its reply, by its idempotency key

    @classmethod
    def start(
        cls, request: Request, options: WaitOptions, *, has_key: bool = False
    ) -> "PendingRequest":
        """Return *request* with its time running from now."""
        wait = Deadline.after(options.wait_s - options.queued_s)
        deadline = Deadline.after(options.deadline_s - options.queued_s)
        return cls(request, options, wait, deadline, has_key)


@dataclass(frozen=True, slots=True)
class ExchangeResult:
    """The result of a request."""

    correlation_id: str  # of the request that was published: this one or an earlier one
    reply: Reply | None  # None when there is none yet and the client accepts a 202
    is_replayed: bool = False  # whether it is the reply to an earlier request with the same key
