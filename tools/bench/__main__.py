"""
`make bench`: throughput, latency and cost on Apache Kafka and Valkey.

    python -m tools.bench [run]       floors, naive gateway and ours under every case, with plots
    python -m tools.bench waiters     CPU cost of waiters: the same rate with few and many pending
    python -m tools.bench replies     the replies process alone, compared with a counting consumer
    python -m tools.bench scale       1, 2, 4 web workers by 1, 2 replies processes
    python -m tools.bench cpu         CPU time of a web worker, part by part
    python -m tools.bench memory      500 kB bodies for minutes; exit code 1 when a process grows
    python -m tools.bench against REV this source tree compared with a revision or another Python
    python -m tools.bench plots       plots from the results of an earlier run

Each round measures every subject once, because the speed of a machine drifts: compare ratios within
a run, not figures of two runs. Beside the subject only Kafka, Redis and one responder run. Needs
Java 17, Maven and wrk. Logs and results go to .bench/ by default.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gateway.clients.api_keys import new_key
from tools.bench.cases import BASE, BASE_WORKERS, CASES, Case, cases_named
from tools.bench.experiments import (
    cpu_profile,
    memory_growth,
    replies_process,
    revisions,
    scaling,
    waiters,
)
from tools.bench.experiments.comparison import Plan, compare
from tools.bench.load.wrk import LoadFailed
from tools.bench.measure.machine import machine, one_line
from tools.bench.report import tables
from tools.bench.report.plots import plot_all
from tools.bench.report.progress import print_line
from tools.bench.servers import Servers
from tools.bench.subject import RESPONDERS, SUBJECTS, NotReady, Setup, warm_up
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.jars import JarsNotFetched
from tools.devstack.process.child import ChildNotStarted
from tools.devstack.process.server import ServerNotStarted

T = TypeVar("T")
Options = argparse.Namespace

FINISHED, FAILED, COULD_NOT_RUN = 0, 1, 2
FOLDER = Path(".bench")
LOGS = FOLDER / "logs"
#: Default cases of against.
AGAINST = ("c1", BASE)


class CannotRun(Exception):
    """Raised with what is missing on this machine, or wrong in the options."""


EXPECTED = (
    CannotRun,
    ChildNotStarted,
    JarsNotFetched,
    LoadFailed,
    NotReady,
    ServerNotStarted,
    revisions.NoSuchRevision,
)


def main(arguments: Sequence[str]) -> int:
    """Run the command in *arguments* and return the exit code."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code: int = options.command(options)
    except EXPECTED as error:
        sys.stderr.write(f"{error}\nlogs: {LOGS}\n")
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return code


def _run(options: Options) -> int:
    # Our own responder ignores the delay that a body asks for.
    cases = [c for c in options.cases if options.responder == "echo" or not c.delay_s]
    plan = Plan(options.subjects, cases, options.rounds, options.seconds, options.responder)
    place, results = _on_servers(lambda servers: list(compare(servers, plan)))
    print_line("\n" + "\n".join(tables.table(results)) + "\n")
    tables.write_json(tables.as_json(results, place, _as_json(options)), options.output)
    files = plot_all(results, place, options.plots)
    print_line(f"results: {options.output}; plots: {', '.join(map(str, files)) or 'none'}")
    return FINISHED


def _waiters(options: Options) -> int:
    place, found = _on_servers(lambda s: waiters.measure(s, options.rounds, options.seconds))
    return _report(options, place, waiters.table(found), waiters.as_json(found))


def _replies(options: Options) -> int:
    place, found = _on_servers(
        lambda s: replies_process.measure(s, options.rounds, options.records)
    )
    return _report(options, place, replies_process.table(found), replies_process.as_json(found))


def _scale(options: Options) -> int:
    place, found = _on_servers(lambda s: scaling.measure(s, options.rounds, options.seconds))
    return _report(options, place, scaling.table(found), scaling.as_json(found))


def _cpu(options: Options) -> int:
    place, found = _on_servers(lambda s: cpu_profile.measure(s, options.rounds, options.seconds))
    _report(options, place, cpu_profile.table(found), cpu_profile.as_json(found))
    return _verdict(cpu_profile.failures(found))


def _memory(options: Options) -> int:
    place, found = _on_servers(
        lambda s: memory_growth.measure(s, options.minutes), memory_growth.KAFKA_OPTIONS
    )
    _report(options, place, memory_growth.table(found), memory_growth.as_json(found))
    return _verdict(found.failures())


def _against(options: Options) -> int:
    if options.shipped and any(c.delay_s or c.workers != BASE_WORKERS for c in options.cases):
        raise CannotRun("--shipped: choose cases without a delay and with 2 workers")
    with tempfile.TemporaryDirectory() as folder:
        revisions.unpack(options.revision, tree := Path(folder))
        other = Setup(
            "ours",
            env=dict(options.env),
            tree=tree,
            python=options.python,
            shipped=options.shipped,
            api_key=new_key() if options.api_keys else "",
        )
        place, found = _on_servers(
            lambda s: revisions.measure(s, options.cases, options.rounds, options.seconds, other)
        )
    return _report(options, place, revisions.table(found), revisions.as_json(found))


def _plots(options: Options) -> int:
    results, place = tables.read_results(options.results)
    print_line("\n".join(map(str, plot_all(results, place, options.folder))))
    return FINISHED


def _on_servers(
    measure: Callable[[Servers], T], kafka_options: Mapping[str, str] | None = None
) -> tuple[dict[str, str], T]:
    """Run *measure* with Kafka and Redis; return the machine and the results."""
    if (reason := _missing()) is not None:
        raise CannotRun(reason)
    LOGS.mkdir(parents=True, exist_ok=True)
    with Servers(LOGS, kafka_options) as servers:
        place = machine(servers.redis)
        print_line(one_line(place))
        warm_up(servers)
        return place, measure(servers)


def _missing() -> str | None:
    reason = ApacheKafka.unavailable_reason()
    if reason is None and shutil.which("wrk") is None:
        reason = "The load generator wrk is missing; install it, for example: apt-get install wrk"
    return reason


def _report(
    options: Options, place: Mapping[str, str], table: Iterator[str], found: dict[str, Any]
) -> int:
    print_line("\n" + "\n".join(table) + "\n")
    origin = {"machine": dict(place), "options": _as_json(options)}
    tables.write_json(origin | found, options.output)
    print_line(f"results: {options.output}")
    return FINISHED


def _verdict(failures: Iterator[str]) -> int:
    failed = "\n".join(failures)
    print_line(f"\nFAILED:\n{failed}" if failed else "passed")
    return FAILED if failed else FINISHED


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _as_json(options: Options) -> dict[str, object]:
    """Return the options without paths."""
    hidden = ("command", "output", "plots")
    found = {name: value for name, value in vars(options).items() if name not in hidden}
    if "cases" in found:
        found["cases"] = [case.name for case in options.cases]
    return found


def _subjects(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := set(wanted) - set(SUBJECTS):
        raise argparse.ArgumentTypeError(f"no such subject: {', '.join(sorted(unknown))}")
    return [subject for subject in SUBJECTS if subject in wanted]


def _cases(text: str) -> list[Case]:
    try:
        return cases_named(text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def _program(text: str) -> str:
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"no program {text!r}")
    # Absolute, because it starts in another folder; links stay, they name a virtual environment.
    return str(Path(found).absolute())


def _options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(__doc__ or "").strip(),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = _command(commands, "run", _run, "all subjects under every case; the default")
    _add_rounds(run, 6)
    _add_cases(run, [case.name for case in CASES], "all")
    add = run.add_argument
    add("--subjects", type=_subjects, default=list(SUBJECTS), help=_list_of(SUBJECTS, "all"))
    add("--responder", choices=RESPONDERS, default=RESPONDERS[0], help="ours ignores delays")
    add("--plots", type=Path, default=FOLDER, help="folder of the plots (%(default)s)")
    _add_rounds(_command(commands, "waiters", _waiters, "CPU cost of waiters"), 8)
    replies = _command(commands, "replies", _replies, "the replies process alone")
    _add_rounds(replies)
    count = replies_process.COUNT
    replies.add_argument("--records", type=int, default=count, help="per round (%(default)s)")
    _add_rounds(_command(commands, "scale", _scale, "more workers and replies processes"), 6)
    _add_rounds(_command(commands, "cpu", _cpu, "CPU time of a web worker by part"), 6)
    memory = _command(commands, "memory", _memory, "large bodies for minutes")
    memory.add_argument("--minutes", type=float, default=10, help="length (%(default)s)")
    _add_against(commands)
    plots = commands.add_parser("plots", help="plots from the results of an earlier run")
    plots.set_defaults(command=_plots)
    plots.add_argument("results", type=Path, help="JSON file of a run")
    plots.add_argument("folder", type=Path, help="folder of the plots")
    has_command = arguments and arguments[0] in (*commands.choices, "-h", "--help")
    return parser.parse_args([*([] if has_command else ["run"]), *arguments])


def _add_against(commands: Any) -> None:
    against = _command(commands, "against", _against, "this source tree against another one")
    _add_rounds(against, 4)
    _add_cases(against, AGAINST, ",".join(AGAINST))
    add = against.add_argument
    add("revision", nargs="?", default="HEAD", help="git revision of the other tree (%(default)s)")
    add("--python", type=_program, default=sys.executable, help="runs the other tree (this one)")
    add(
        "--env",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of the other tree; may be repeated",
    )
    add(
        "--shipped",
        action="store_true",
        help="run each tree's Procfile with default settings, its own responder included",
    )
    add("--api-keys", action="store_true", help="require an API key in both trees and send it")


def _command(
    commands: Any, name: str, command: Callable[[Options], int], description: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=description)
    parser.set_defaults(command=command)
    output = FOLDER / f"{'results' if name == 'run' else name}.json"
    parser.add_argument("--output", type=Path, default=output, help="JSON file (%(default)s)")
    return parser


def _add_rounds(parser: argparse.ArgumentParser, seconds: float | None = None) -> None:
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="number of rounds (%(default)s)")
    if seconds is not None:
        add("--seconds", type=float, default=seconds, help="of each measurement (%(default)s)")


def _add_cases(parser: argparse.ArgumentParser, default: Sequence[str], shown: str) -> None:
    names = _list_of((case.name for case in CASES), shown)
    parser.add_argument("--cases", type=_cases, default=cases_named(default), help=names)


def _list_of(names: Iterable[str], default: str) -> str:
    return f"comma-separated list of {','.join(names)} ({default})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
