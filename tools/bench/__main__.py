"""
`make bench`: throughput, latency and cost on Apache Kafka and Valkey.

    python -m tools.bench [run]       as shipped and against a textbook; the gateway alone; plots
    python -m tools.bench open        latency at fixed rates up to saturation; with a plot
    python -m tools.bench peers --from FOLDER    gateways of other projects beside ours
    python -m tools.bench waiters     CPU cost of waiters: the same rate with few and many pending
    python -m tools.bench replies     the replies process alone, compared with a counting consumer
    python -m tools.bench responder   the responder alone, compared with a plain kafka-python loop
    python -m tools.bench scale       1, 2, 4 web workers by 1, 2 replies processes
    python -m tools.bench cpu         CPU time of a web worker, part by part
    python -m tools.bench memory      500 kB bodies for minutes; exit code 1 when a process grows
    python -m tools.bench against REV this source tree compared with a revision or another Python
    python -m tools.bench compare     two settings of this source tree
    python -m tools.bench idle        two settings without requests, by number of web workers
    python -m tools.bench plots       plots from the results of an earlier run

Each round measures every subject once, because the speed of a machine drifts: compare ratios within
a run, not figures of two runs. Beside the subject only Kafka, Redis, a responder and the load run.
Needs Java 17, Maven and wrk; open needs vegeta. Logs and results go to .bench/ by default.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.clients.api_keys import new_key
from tools.bench.cases import runs
from tools.bench.experiments import (
    cpu_profile,
    idle,
    memory_growth,
    open_loop,
    pair,
    peer_comparison,
    replies_process,
    responder_alone,
    scaling,
    waiters,
)
from tools.bench.experiments.comparison import Plan, compare
from tools.bench.load import vegeta
from tools.bench.load.wrk import LoadFailed
from tools.bench.measure.machine import machine, one_line
from tools.bench.options import FOLDER, parse
from tools.bench.peers import setups_in
from tools.bench.report import open_plot, tables
from tools.bench.report.plots import plot_all
from tools.bench.servers import Servers
from tools.bench.setup import Setup, setup_of
from tools.bench.subject import NotReady, warm_up
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.jars import JarsNotFetched
from tools.devstack.process.child import ChildNotStarted
from tools.devstack.process.server import ServerNotStarted
from tools.output import print_line, write_json
from tools.revision import NoSuchRevision, unpack

T = TypeVar("T")
Options = argparse.Namespace
Command = Callable[[Options], int]

FINISHED, FAILED, COULD_NOT_RUN = 0, 1, 2
LOGS = FOLDER / "logs"
#: Subjects that fetch as the embedded broker needs it.
ON_EMBEDDED = ("shipped", "shipped-without-key", "floor-shipped", "floor-shipped-librdkafka")
#: Options of most experiments.
TIMED = ("rounds", "seconds")


class CannotRun(Exception):
    """Raised with what is missing on this machine, or wrong in the options."""


EXPECTED = (
    CannotRun,
    ChildNotStarted,
    JarsNotFetched,
    LoadFailed,
    NoSuchRevision,
    NotReady,
    ServerNotStarted,
)


def main(arguments: Sequence[str]) -> int:
    """Run the command in *arguments* and return the exit code."""
    options = parse(arguments, __doc__ or "")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return COMMANDS[options.command](options)
    except EXPECTED as error:
        sys.stderr.write(f"{error}\nlogs: {LOGS}\n")
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(options: Options) -> int:
    setups = {name: setup_of(name, dict(options.env)) for name in options.subjects}
    plan = Plan(
        options.subjects, options.cases, options.rounds, options.seconds, setups, alternate=True
    )
    if options.embedded and (others := set(options.subjects) - set(ON_EMBEDDED)):
        raise CannotRun(f"--embedded: leave out {', '.join(sorted(others))}, whose fetches wait")
    host, results = _on_servers(
        lambda servers: list(compare(servers, plan)), embedded=options.embedded
    )
    print_line("\n" + "\n".join(tables.table(results)) + "\n")
    write_json(tables.as_json(results, host, _as_json(options)), options.output)
    files = plot_all(results, host, options.plots)
    print_line(f"results: {options.output}; plots: {', '.join(map(str, files)) or 'none'}")
    return FINISHED


def _experiment(module: Any, *names: str) -> Command:
    """Return the command that measures *module* with the options called *names*."""

    def command(options: Options) -> int:
        values = [getattr(options, name) for name in names]
        host, found = _on_servers(
            lambda servers: module.measure(servers, *values), getattr(module, "KAFKA_OPTIONS", None)
        )
        _report(options, host, module.table(found), module.as_json(found))
        return _verdict(module.failures(found)) if hasattr(module, "failures") else FINISHED

    return command


def _against(options: Options) -> int:
    this = _base(options)
    with tempfile.TemporaryDirectory() as folder:
        unpack(options.revision, tree := Path(folder))
        other = replace(this, env=dict(options.env), tree=tree, python=options.python)
        return _pair(options, {"this": this, "other": other})


def _compare(options: Options) -> int:
    return _pair(options, _a_and_b(options, _base(options)))


def _idle(options: Options) -> int:
    setups = _a_and_b(options, Setup("ours", shipped=True))
    host, found = _on_servers(
        lambda s: idle.measure(s, setups, options.workers, options.rounds, options.seconds)
    )
    _report(options, host, idle.table(found), idle.as_json(found))
    return FINISHED


def _a_and_b(options: Options, base: Setup) -> dict[str, Setup]:
    """Return *base* with the settings of A and of B; print them."""
    for name, settings in (("A", options.a), ("B", options.b)):
        print_line(f"{name}: {' '.join(map('='.join, settings)) or 'default settings'}")
    return {"A": replace(base, env=dict(options.a)), "B": replace(base, env=dict(options.b))}


def _base(options: Options) -> Setup:
    """Return the setup of this tree by the options of a pair."""
    if options.shipped:
        _as_shipped_only(options)
    api_key = new_key() if options.api_keys else ""
    return Setup("ours", shipped=options.shipped, api_key=api_key)


def _as_shipped_only(options: Options) -> None:
    if not all(runs("shipped", case) for case in options.cases):
        raise CannotRun("as shipped: choose cases without a delay and with 2 workers")


def _pair(options: Options, setups: Mapping[str, Setup]) -> int:
    host, found = _on_servers(
        lambda s: pair.measure(s, setups, options.cases, options.rounds, options.seconds)
    )
    _report(options, host, pair.table(found), pair.as_json(found))
    return FINISHED


def _open(options: Options) -> int:
    if vegeta.program() is None:
        raise CannotRun(vegeta.MISSING)
    setups = {name: setup_of(name, dict(options.env)) for name in options.subjects}
    host, found = _on_servers(
        lambda s: open_loop.measure(s, setups, options.rates, options.rounds, options.seconds)
    )
    _report(options, host, open_loop.table(found), open_loop.as_json(found))
    print_line(f"plot: {open_plot.plot(found, host, options.plots)}")
    return FINISHED


def _peers(options: Options) -> int:
    _as_shipped_only(options)
    found, missing = setups_in(options.folder, options.peers)
    if not found:
        raise CannotRun("\n".join(missing))
    print_line("\n".join(missing))
    env = dict(options.env)
    host, results = _on_servers(
        lambda s: peer_comparison.measure(
            s, found, options.cases, options.rounds, options.seconds, env
        )
    )
    _report(options, host, peer_comparison.table(results), peer_comparison.as_json(results))
    return FINISHED


def _plots(options: Options) -> int:
    results, host = tables.read_results(options.results)
    print_line("\n".join(map(str, plot_all(results, host, options.folder))))
    return FINISHED


def _on_servers(
    measure: Callable[[Servers], T],
    kafka_options: Mapping[str, str] | None = None,
    *,
    embedded: bool = False,
) -> tuple[dict[str, str], T]:
    """Run *measure* with Kafka and Redis; return the machine and the results."""
    if (reason := _missing()) is not None:
        raise CannotRun(reason)
    LOGS.mkdir(parents=True, exist_ok=True)
    with Servers(LOGS, kafka_options, embedded=embedded) as servers:
        host = machine(servers.redis, servers.kafka.name if embedded else "")
        print_line(one_line(host))
        if not embedded:
            warm_up(servers)
        return host, measure(servers)


def _missing() -> str | None:
    reason = ApacheKafka.unavailable_reason()
    if reason is None and shutil.which("wrk") is None:
        reason = "The load generator wrk is missing; install it, for example: apt-get install wrk"
    return reason


def _report(
    options: Options, host: Mapping[str, str], table: Iterator[str], found: dict[str, Any]
) -> None:
    print_line("\n" + "\n".join(table) + "\n")
    origin = {"machine": dict(host), "options": _as_json(options)}
    write_json(origin | found, options.output)
    print_line(f"results: {options.output}")


def _verdict(failures: Iterator[str]) -> int:
    failed = "\n".join(failures)
    print_line(f"\nFAILED:\n{failed}" if failed else "passed")
    return FAILED if failed else FINISHED


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _as_json(options: Options) -> dict[str, object]:
    """Return the options without paths."""
    hidden = ("command", "output", "plots", "folder")
    found = {name: value for name, value in vars(options).items() if name not in hidden}
    if "cases" in found:
        found["cases"] = [case.name for case in options.cases]
    return found


COMMANDS: Mapping[str, Command] = {
    "run": _run,
    "waiters": _experiment(waiters, *TIMED),
    "replies": _experiment(replies_process, "rounds", "records"),
    "responder": _experiment(responder_alone, "rounds", "records"),
    "scale": _experiment(scaling, *TIMED),
    "cpu": _experiment(cpu_profile, *TIMED),
    "memory": _experiment(memory_growth, "minutes"),
    "against": _against,
    "compare": _compare,
    "idle": _idle,
    "open": _open,
    "peers": _peers,
    "plots": _plots,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
