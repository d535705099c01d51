"""Which function answers which topic."""

from collections.abc import Callable

from rendezvous.contract import Reply, Request

Handler = Callable[[Request], Reply]


class HandlerError(Exception):
    """
    Raised by a handler to answer with an error status.

    Args:
        status: the HTTP status of the response, 400-599.
        detail: what the client should know and do.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail

    def reply_to(self, request: Request) -> Reply:
        """Return the reply that tells the client of *request*."""
        return Reply.problem(request, self.status, "Request refused", self.detail)


class Handlers:
    """The handlers of one responder, by topic (without KAFKA_PREFIX)."""

    def __init__(self) -> None:
        self._by_topic: dict[str, Handler] = {}

    def handles(self, topic: str) -> Callable[[Handler], Handler]:
        """
        Return a decorator that lets a function answer the requests of *topic*.

        Raises:
            ValueError: when another function does already.
        """

        def register(handler: Handler) -> Handler:
            if topic in self._by_topic:
                raise ValueError(f"topic {topic!r} has a handler already: {self._by_topic[topic]}")
            self._by_topic[topic] = handler
            return handler

        return register

    def by_topic(self, prefix: str = "") -> dict[str, Handler]:
        """Return the handlers by topic, *prefix* in front."""
        return {prefix + topic: handler for topic, handler in self._by_topic.items()}


_handlers = Handlers()
#: ``@handles("topic")``: the function below answers the requests of that topic.
handles = _handlers.handles
registered = _handlers.by_topic
