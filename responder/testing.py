"""Calls a handler with a request, without Kafka: for tests of handlers."""

import time
from typing import Any

from rendezvous.contract import Reply, Request
from responder.registry import Handler, HandlerError, checked, registered


def call(
    handler: Handler | str,
    body: bytes = b"",
    *,
    topic: str = "topic",
    timeout_s: float = 3.0,
    **fields: Any,
) -> Reply:
    """
    Return the reply of *handler*, as the gateway would receive it.

    Request and reply are encoded and decoded as on their way through Kafka. A HandlerError becomes
    its error reply; any other exception, a 500 in the responder, is raised.

    Args:
        handler: the function, or the topic that it is registered for.
        body: the body of the request.
        topic: the topic of the request, where *handler* is a function.
        timeout_s: how long the client waits, in seconds; negative: it has stopped waiting.
        fields: further fields of rendezvous.contract.Request, such as ``content_type``.

    Raises:
        LookupError: when no handler is registered for the topic.
        UnusableReply: when the reply cannot become an HTTP response; the client would get a 502.
    """
    if isinstance(handler, str):
        topic, handler = handler, _registered_for(handler)
    deadline_ms = round((time.time() + timeout_s) * 1000)
    sent = Request("test-id", topic, "replies", deadline_ms, body=body, **fields)
    key, value, headers = sent.encode()
    request = Request.decode(topic, key, value, headers)
    try:
        reply = checked(handler(request))
    except HandlerError as error:
        reply = error.reply_to(request)
    return Reply.decode(*reply.encode())


def _registered_for(topic: str) -> Handler:
    handlers = registered()
    if topic not in handlers:
        known = ", ".join(sorted(handlers)) or "none"
        raise LookupError(
            f"no handler is registered for topic {topic} (registered: {known}); import its module"
        )
    return handlers[topic]
