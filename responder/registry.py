"""Registry of the handlers: which function handles the requests of which topic."""

import importlib
import math
from collections.abc import Callable, Iterable

from rendezvous.contract import Reply, Request

Handler = Callable[[Request], Reply]


class HandlerError(Exception):
    """
    Raised by a handler to reply with an error status.

    Args:
        status: the HTTP status of the response, 400-599.
        detail: what happened and what to do, for the client.

    Raises:
        ValueError: for another status; the client then gets a 500.
    """

    def __init__(self, status: int, detail: str) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"HandlerError({status!r}, ...): expected a status from 400 to 599")
        super().__init__(detail)
        self.status = status
        self.detail = str(detail)  # an exception is an easy mistake

    def reply_to(self, request: Request) -> Reply:
        """Return the error reply to *request*, as problem details (RFC 9457)."""
        return Reply.problem(request, self.status, "Request refused", self.detail)


class Retry(Exception):
    """
    Raised by a handler without effect, to be called again for the request.

    Args:
        detail: what the client gets to read if the last attempt fails too.
        after_s: pause before the next attempt, in seconds; by default 0.1 s, and doubled each time.
    """

    def __init__(self, detail: str = "", *, after_s: float | None = None) -> None:
        super().__init__(detail)
        if after_s is not None and not 0 <= after_s < math.inf:
            raise ValueError(f"after_s={after_s} is not a number of seconds from 0")
        self.detail = detail
        self.after_s = after_s


class HandlersNotLoaded(Exception):
    """Raised with what is wrong with a module of handlers, and what to do."""


class Handlers:
    """The handlers of one responder, by topic (without KAFKA_PREFIX)."""

    def __init__(self) -> None:
        self._by_topic: dict[str, Handler] = {}

    def handles(self, topic: str) -> Callable[[Handler], Handler]:
        """
        Return a decorator that registers a function for the requests of *topic*.

        Raises:
            ValueError: when the topic already has a handler.
        """

        def register(handler: Handler) -> Handler:
            if topic in self._by_topic:
                raise ValueError(f"topic {topic!r} already has a handler: {self._by_topic[topic]}")
            self._by_topic[topic] = handler
            return handler

        return register

    def by_topic(self, prefix: str = "") -> dict[str, Handler]:
        """Return the handlers by topic, each topic with *prefix*."""
        return {prefix + topic: handler for topic, handler in self._by_topic.items()}


_handlers = Handlers()
#: ``@handles("topic")`` registers a function for the requests of a topic.
handles = _handlers.handles
registered = _handlers.by_topic


def load_handlers(modules: Iterable[str]) -> None:
    """
    Import *modules*, whose functions register themselves by ``@handles``.

    Raises:
        HandlersNotLoaded: when one does not exist, or when none registers a handler.
    """
    names = list(modules)
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module exists; what it imports is missing
            raise HandlersNotLoaded(
                f"there is no module {error.name}; start in the folder that has it, or install it"
            ) from None
    if not registered():
        raise HandlersNotLoaded(
            f'{", ".join(names)} registers no handler; put @handles("topic") before a function'
        )


def checked(reply: Reply) -> Reply:
    """Return *reply*, the result of a handler; raise if it cannot be published."""
    if not isinstance(reply, Reply) or not isinstance(reply.body, bytes):
        raise TypeError(f"a handler must return a Reply with a body of bytes, not {reply!r:.200}")
    reply.encode()
    return reply
