"""The headline table: gateways with their own responders, as they are deployed."""

from collections.abc import Iterator, Sequence
from statistics import median

from tools.bench.cases import AS_SHIPPED
from tools.bench.measure.result import Result
from tools.bench.report.summary import (
    SHIPPED_RATIOS,
    Figure,
    Spread,
    cpu_us,
    p50_s,
    p99_s,
    per_s,
    ratios,
    redis_commands,
)

#: Heading, figure, and format of the columns with ranges, and of those with medians only.
RANGES: Sequence[tuple[str, Figure, str]] = (
    ("requests/s", per_s, ".0f"),
    ("p50 ms", lambda r: 1e3 * p50_s(r), ".1f"),
    ("p99 ms", lambda r: 1e3 * p99_s(r), ".1f"),
)
MEDIANS: Sequence[tuple[str, Figure, str]] = (
    ("not 2xx", lambda r: r.refused_share, ".1%"),
    ("web us", cpu_us("web"), ".0f"),
    ("replies us", cpu_us("replies"), ".0f"),
    ("responder us", cpu_us("responder"), ".0f"),
    ("Redis", redis_commands, ".2f"),
    ("produce", lambda r: r.per_request(r.kafka_requests.get("Produce", 0)), ".2f"),
)
NAME_WIDTH, RANGE_WIDTH, MEDIAN_WIDTH = 24, 25, 13


def of_shipped(results: Sequence[Result]) -> list[Result]:
    """Return the results of subjects with a responder of their own."""
    return [result for result in results if result.subject in AS_SHIPPED]


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the medians over the rounds with their ranges, and the ratios within rounds."""
    yield "as shipped: Procfile, API key, access log and responder; textbook gateway and responder"
    yield "medians over the rounds (minimum..maximum); rate of status 2xx, latency of all statuses;"
    yield "CPU time, Redis commands and produce requests for each status 2xx"
    for case in dict.fromkeys(result.case for result in results):
        of_case = [result for result in results if result.case == case]
        yield f"\n{case.name}: {case}"
        yield from columns_table(of_case)
        yield from _ratio_lines(of_case)


def columns_table(of_case: Sequence[Result]) -> Iterator[str]:
    """Yield a heading, and a line for each subject."""
    yield (
        " " * (2 + NAME_WIDTH)
        + "".join(f"{heading:>{RANGE_WIDTH}}" for heading, _, _ in RANGES)
        + "".join(f"{heading:>{MEDIAN_WIDTH}}" for heading, _, _ in MEDIANS)
    )
    for subject in dict.fromkeys(result.subject for result in of_case):
        own = [result for result in of_case if result.subject == subject]
        yield (
            f"  {subject:{NAME_WIDTH}}"
            + "".join(
                format(Spread.of([figure(r) for r in own]), form).rjust(RANGE_WIDTH)
                for _, figure, form in RANGES
            )
            + "".join(
                format(median(figure(r) for r in own), form).rjust(MEDIAN_WIDTH)
                for _, figure, form in MEDIANS
            )
        )


def _ratio_lines(of_case: Sequence[Result]) -> Iterator[str]:
    own = [result for result in of_case if result.subject == "shipped"]
    found = {
        name: spread
        for name, (other, figure) in SHIPPED_RATIOS.items()
        if (spread := ratios(own, of_case, other, figure)) is not None
    }
    if found:
        shown = ", ".join(f"{name} {spread:.2f}" for name, spread in found.items())
        yield f"  shipped within rounds: {shown}"
