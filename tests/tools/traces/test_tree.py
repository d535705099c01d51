"""Traces are printed as trees, with what other traces link to them."""

from tools.traces.collector import Event, Span
from tools.traces.tree import trace_of, tree


def span(span_id, parent_id, name, start_ms, duration_ms, *, trace="t1", links=(), events=()):
    begin_ns = start_ms * 1_000_000
    end_ns = begin_ns + duration_ms * 1_000_000
    return Span(
        trace, span_id, parent_id, name, "SERVER", "web", "i", begin_ns, end_ns, {}, events, links,
        is_error=False,
    )  # fmt: skip


SPANS = [
    span("4", "", "process replies", 30, 1, trace="t2", links=("3", "other")),
    span("3", "2", "send replies", 20, 4),
    span("2", "1", "send orders", 1, 2),
    span("1", "client", "POST /orders", 0, 40,
         events=(Event("reply", 35_000_000, {"way": "straight"}),)),
    span("9", "", "GET /", 0, 1, trace="t3"),
]  # fmt: skip


def test_a_tree_has_each_span_below_its_parent_and_links_below_what_they_link_to():
    lines = [" ".join(line.split()) for line in tree(trace_of(SPANS, "t1"))]

    assert lines == [
        "POST /orders web 40.0 ms",
        "* reply straight 35.0 ms",
        "└ send orders web 2.0 ms",
        "└ send replies web 4.0 ms",
        "└ process replies web 1.0 ms linked",
    ]


def test_a_trace_has_neither_other_traces_nor_their_links():
    assert [one.name for one in trace_of(SPANS, "t3")] == ["GET /"]
