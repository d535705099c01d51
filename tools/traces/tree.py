"""Prints a trace as a tree with durations."""

from collections.abc import Iterable, Iterator, Sequence

from tools.traces.collector import Span

_NAME_WIDTH = 34


def trace_of(spans: Sequence[Span], trace_id: str) -> list[Span]:
    """Return the spans of a trace, and spans of others that link to it."""
    own = [span for span in spans if span.trace_id == trace_id]
    ids = {span.span_id for span in own}
    return own + [s for s in spans if s.trace_id != trace_id and ids.intersection(s.links)]


def tree(spans: Sequence[Span]) -> list[str]:
    """Return the lines of a trace, which trace_of() gives."""
    ids = {span.span_id for span in spans}
    # A client that sends traceparent has a span that is not here.
    roots = [span for span in spans if span.parent_id not in ids and not ids & set(span.links)]
    return [line for root in _by_start(roots) for line in _lines(root, spans, "", "", "")]


def _lines(span: Span, spans: Sequence[Span], before: str, branch: str, note: str) -> Iterator[str]:
    error = f"  {span.attributes.get('error.type', 'error')}" if span.is_error else ""
    name = f"{before}{branch}{span.name}"
    yield f"{name:{_NAME_WIDTH}} {span.service:22} {span.duration_ms:9.1f} ms{note}{error}"
    inside = before + {"": "", "├ ": "│ ", "└ ": "  "}[branch]
    for event in span.events:
        values = " ".join(str(value) for value in event.attributes.values())
        at_ms = (event.at_ns - span.start_ns) / 1_000_000
        label = f"{inside}  * {event.name} {values}"
        yield f"{label:{_NAME_WIDTH}} {'':22} {at_ms:9.1f} ms"
    below = [(one, "") for one in _by_start(s for s in spans if s.parent_id == span.span_id)]
    below += [(one, "  linked") for one in _by_start(s for s in spans if span.span_id in s.links)]
    for number, (one, its_note) in enumerate(below, start=1):
        is_last = number == len(below)
        yield from _lines(one, spans, inside, "└ " if is_last else "├ ", its_note)


def _by_start(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span.start_ns)
