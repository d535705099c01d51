"""Gateways of other projects, with their own responders and with ours, beside ours as shipped."""

from collections.abc import Iterator, Sequence
from typing import Any

from tools.bench.cases import Case
from tools.bench.experiments.comparison import Plan, compare
from tools.bench.measure.result import Result
from tools.bench.peers import PeerSetup, unpack_libraries
from tools.bench.report import shipped
from tools.bench.report.summary import p99_s, per_s, ratios
from tools.bench.servers import Servers
from tools.bench.setup import Setup, setup_of

#: Measured in each round before the peers.
OURS = ("shipped", "textbook")


def measure(
    servers: Servers,
    peers: Sequence[PeerSetup],
    cases: Sequence[Case],
    rounds: int,
    seconds: float,
    env: dict[str, str],
) -> list[Result]:
    """Measure ours, with the further settings *env*, and *peers* in each round."""
    unpack_libraries(peers)
    setups = {name: setup_of(name, env) for name in OURS}
    setups |= {peer.name: Setup(peer.name, foreign=peer) for peer in peers}
    return list(compare(servers, Plan(list(setups), cases, rounds, seconds, setups)))


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "gateways with the responder of their framework (own) and with ours (shipped);"
    yield "medians over the rounds (minimum..maximum); ratios within rounds, shipped : the other"
    for case in dict.fromkeys(result.case for result in results):
        of_case = [result for result in results if result.case == case]
        yield f"\n{case.name}: {case}"
        yield from shipped.columns_table(of_case)
        own = [result for result in of_case if result.subject == "shipped"]
        for subject in dict.fromkeys(result.subject for result in of_case):
            rate = ratios(own, of_case, subject, per_s)
            p99 = ratios(own, of_case, subject, p99_s)
            if subject != "shipped" and rate is not None and p99 is not None:
                yield f"  shipped : {subject:16} rate {rate:.2f}, p99 {p99:.2f}"


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return all results."""
    return {"results": [result.as_json() for result in results]}
