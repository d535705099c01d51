"""
Spans of requests, which do nothing unless a tracer was started; see open_telemetry.py.

The processes know this seam alone, so that tracing costs nothing where it is not asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

Attributes = Mapping[str, Any]
#: The headers of a Kafka record.
Headers = list[tuple[str, bytes]]


class Span(Protocol):
    """
    A span under way. As a context manager it is the current one of its thread, and ends with it.

    """

    @property
    def ids(self) -> tuple[str, str] | None:
        """Trace id and span id in hexadecimal; None if there is no span."""

    @property
    def is_recorded(self) -> bool:
        """Whether what is added to it is exported."""

    def describe(self, attributes: Attributes, error_type: str | None = None) -> None:
        """Add *attributes*, and the class of its failure, if any."""

    def rename(self, name: str) -> None:
        """Give it another name."""

    def event(self, name: str, attributes: Attributes) -> None:
        """Add an event that happens now."""

    def inject(self, headers: Headers) -> Headers:
        """Return *headers* with the context of the span in place of another one."""

    def end(self, error: object = None) -> None:
        """End it, as failed if there is an *error*; to be called once, by any thread."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None: ...


class Tracer(Protocol):
    """Starts spans."""

    def serve(
        self, method: str, traceparent: str | None, tracestate: str | None, waited_s: float
    ) -> Span:
        """Return the span of an HTTP request that came *waited_s* ago, with its headers."""

    def send(self, topic: str, correlation_id: str) -> Span:
        """Return the span of a record on its way to the broker, below the current span."""

    def process(self, record: Any) -> Span:
        """Return the span of handling *record*, below the span that sent it."""

    def process_batch(self, topic: str, batches: Iterable[Sequence[Any]]) -> Span:
        """Return the span of handling records together, with links to those that sent them."""

    def current(self) -> Span:
        """Return the current span of this thread."""

    def close(self) -> None:
        """Export what has ended, within a limit of time."""


class NoSpan:
    """The span of a process without a tracer."""

    __slots__ = ()
    ids: tuple[str, str] | None = None
    is_recorded = False

    def describe(self, attributes: Attributes, error_type: str | None = None) -> None:
        """Do nothing."""

    def rename(self, name: str) -> None:
        """Do nothing."""

    def event(self, name: str, attributes: Attributes) -> None:
        """Do nothing."""

    def inject(self, headers: Headers) -> Headers:
        """Return *headers*."""
        return headers

    def end(self, error: object = None) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        return None


#: The only one that is needed.
NO_SPAN: Span = NoSpan()


class NoTracer:
    """The tracer of a process without traces."""

    def serve(
        self, method: str, traceparent: str | None, tracestate: str | None, waited_s: float
    ) -> Span:
        """Return no span."""
        return NO_SPAN

    def send(self, topic: str, correlation_id: str) -> Span:
        """Return no span."""
        return NO_SPAN

    def process(self, record: Any) -> Span:
        """Return no span."""
        return NO_SPAN

    def process_batch(self, topic: str, batches: Iterable[Sequence[Any]]) -> Span:
        """Return no span."""
        return NO_SPAN

    def current(self) -> Span:
        """Return no span."""
        return NO_SPAN

    def close(self) -> None:
        """Do nothing."""


#: The tracer of this process; to be read as ``tracing.tracer``, since use() replaces it.
tracer: Tracer = NoTracer()


def use(new: Tracer) -> None:
    """Let this process start its spans with *new*."""
    global tracer
    tracer = new
