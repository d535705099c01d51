"""
`make bench`: what it costs and how fast it is, on real Apache Kafka and Valkey.

    python -m tools.bench [run]       floors, textbook and ours under every case, with plots
    python -m tools.bench waiting     what waiting itself costs: the same rate, few or many who wait
    python -m tools.bench replies     the replies process alone, beside a consumer that only counts
    python -m tools.bench scale       1, 2, 4 web workers by 1, 2 replies processes
    python -m tools.bench where       where the CPU of our web goes, part by part
    python -m tools.bench memory      500 kB bodies for minutes; exit code 1 when a process grows
    python -m tools.bench against REV this tree against a revision or another Python
    python -m tools.bench plots       draw the plots of a run anew from its results

Each round measures every subject once, so that a machine whose speed drifts treats all alike: quote
the ratios inside one run. Only what is measured runs, beside Kafka, Redis and one responder. Needs
Java 17, Maven and wrk. Logs and results are in .bench/ unless told otherwise.
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
from tools.bench.cases import BASE, BASE_WORKERS, CASES, Case, chosen
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
from tools.bench.measure.machine import described, machine
from tools.bench.report import tables
from tools.bench.report.plots import plot_all
from tools.bench.report.progress import say
from tools.bench.servers import Servers
from tools.bench.subject import RESPONDERS, SUBJECTS, NotReady, Setup, warm_up
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.jars import JarsNotFetched
from tools.devstack.process.child import ChildNotStarted
from tools.devstack.process.server import ServerNotStarted

T = TypeVar("T")

FINISHED, FAILED, COULD_NOT_RUN = 0, 1, 2
FOLDER = Path(".bench")
LOGS = FOLDER / "logs"
#: Cases that against measures by default.
AGAINST = ("c1", BASE)


class CannotRun(Exception):
    """Raised with what is missing on this machine."""


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
    """Run what *arguments* ask for and return the exit code."""
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


def _run(options: argparse.Namespace) -> int:
    # Our own responder answers at once, whatever a body asks for.
    cases = [c for c in options.cases if options.responder == "echo" or not c.delay_s]
    plan = Plan(options.subjects, cases, options.rounds, options.seconds, options.responder)
    place, results = _on_servers(lambda servers: list(compare(servers, plan)))
    say("\n" + "\n".join(tables.table(results)) + "\n")
    tables.write_json(tables.as_json(results, place, _shown(options)), options.output)
    files = plot_all(results, place, options.plots)
    say(f"results: {options.output}; plots: {', '.join(map(str, files)) or 'none'}")
    return FINISHED


def _waiting(options: argparse.Namespace) -> int:
    place, found = _on_servers(lambda s: waiters.measure(s, options.rounds, options.seconds))
    return _conclude(options, place, waiters.table(found), waiters.as_json(found))


def _replies(options: argparse.Namespace) -> int:
    place, found = _on_servers(
        lambda s: replies_process.measure(s, options.rounds, options.records)
    )
    return _conclude(options, place, replies_process.table(found), replies_process.as_json(found))


def _scale(options: argparse.Namespace) -> int:
    place, found = _on_servers(lambda s: scaling.measure(s, options.rounds, options.seconds))
    return _conclude(options, place, scaling.table(found), scaling.as_json(found))


def _where(options: argparse.Namespace) -> int:
    place, found = _on_servers(lambda s: cpu_profile.measure(s, options.rounds, options.seconds))
    _conclude(options, place, cpu_profile.table(found), cpu_profile.as_json(found))
    return _judge(cpu_profile.failures(found))


def _memory(options: argparse.Namespace) -> int:
    place, found = _on_servers(
        lambda s: memory_growth.measure(s, options.minutes), memory_growth.KAFKA_OPTIONS
    )
    _conclude(options, place, memory_growth.table(found), memory_growth.as_json(found))
    return _judge(found.failures())


def _against(options: argparse.Namespace) -> int:
    if options.shipped and any(c.delay_s or c.workers != BASE_WORKERS for c in options.cases):
        raise CannotRun("--shipped measures no case with a delay or with other than 2 workers")
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
    return _conclude(options, place, revisions.table(found), revisions.as_json(found))


def _plots(options: argparse.Namespace) -> int:
    results, place = tables.read_results(options.results)
    say("\n".join(map(str, plot_all(results, place, options.folder))))
    return FINISHED


def _on_servers(
    measure: Callable[[Servers], T], kafka_options: Mapping[str, str] | None = None
) -> tuple[dict[str, str], T]:
    """Return the machine, and what *measure* finds on Kafka and Redis."""
    if (reason := _missing()) is not None:
        raise CannotRun(reason)
    LOGS.mkdir(parents=True, exist_ok=True)
    with Servers(LOGS, kafka_options) as servers:
        place = machine(servers.redis)
        say(described(place))
        warm_up(servers)
        return place, measure(servers)


def _missing() -> str | None:
    reason = ApacheKafka.unavailable_reason()
    if reason is None and shutil.which("wrk") is None:
        reason = "The load generator wrk is missing; install it, for example: apt-get install wrk"
    return reason


def _conclude(
    options: argparse.Namespace,
    place: Mapping[str, str],
    table: Iterator[str],
    found: dict[str, Any],
) -> int:
    say("\n" + "\n".join(table) + "\n")
    shown = {"machine": dict(place), "options": _shown(options)}
    tables.write_json(shown | found, options.output)
    say(f"results: {options.output}")
    return FINISHED


def _judge(failures: Iterator[str]) -> int:
    failed = "\n".join(failures)
    say(f"\nFAILED:\n{failed}" if failed else "passed")
    return FAILED if failed else FINISHED


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _shown(options: argparse.Namespace) -> dict[str, object]:
    """Return what was asked for, without where it goes."""
    hidden = ("command", "output", "plots")
    shown = {name: value for name, value in vars(options).items() if name not in hidden}
    if "cases" in shown:
        shown["cases"] = [case.name for case in options.cases]
    return shown


def _subjects(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := set(wanted) - set(SUBJECTS):
        raise argparse.ArgumentTypeError(f"no such subject: {', '.join(sorted(unknown))}")
    return [subject for subject in SUBJECTS if subject in wanted]


def _cases(text: str) -> list[Case]:
    try:
        return chosen(text.split(","))
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
    # It is started in another folder. A link is not followed: it says which environment it is.
    return str(Path(found).absolute())


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(__doc__ or "").strip(),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = _command(commands, "run", _run, "everything under every case; the default")
    _add_rounds(run, 6)
    add = run.add_argument
    add("--cases", type=_cases, default=list(CASES), help=_list_of(c.name for c in CASES))
    add("--subjects", type=_subjects, default=list(SUBJECTS), help=_list_of(SUBJECTS))
    add("--responder", choices=RESPONDERS, default=RESPONDERS[0], help="ours cannot delay")
    add("--plots", type=Path, default=FOLDER, help="folder (%(default)s)")
    _add_rounds(_command(commands, "waiting", _waiting, "what waiting itself costs"), 8)
    alone = _command(commands, "replies", _replies, "the replies process alone")
    _add_rounds(alone)
    records = replies_process.COUNT
    alone.add_argument("--records", type=int, default=records, help="stored (%(default)s)")
    _add_rounds(_command(commands, "scale", _scale, "more workers, more replies processes"), 6)
    _add_rounds(_command(commands, "where", _where, "where the CPU of web goes"), 6)
    minutes = _command(commands, "memory", _memory, "large bodies for minutes")
    minutes.add_argument("--minutes", type=float, default=10, help="of load (%(default)s)")
    other = _command(commands, "against", _against, "this tree against another one")
    add = other.add_argument
    add("revision", nargs="?", default="HEAD", help="of the other (%(default)s)")
    add("--python", type=_program, default=sys.executable, help="runs the other (the one here)")
    add("--env", type=_setting, action="append", default=[], help="NAME=VALUE, for the other")
    add(
        "--shipped",
        action="store_true",
        help="run the Procfile of each tree with default settings, its responder included",
    )
    add("--api-keys", action="store_true", help="require an API key and send it")
    add(
        "--cases",
        type=_cases,
        default=chosen(AGAINST),
        help=_list_of((c.name for c in CASES), ",".join(AGAINST)),
    )
    _add_rounds(other, 4)
    drawn = commands.add_parser("plots", help="draw the plots of a run anew")
    drawn.set_defaults(command=_plots)
    drawn.add_argument("results", type=Path, help="the JSON of a run")
    drawn.add_argument("folder", type=Path, help="where the plots go")
    # Without a command it is "run", with or without options.
    named = arguments and arguments[0] in (*commands.choices, "-h", "--help")
    return parser.parse_args([*([] if named else ["run"]), *arguments])


def _command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], words: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words)
    parser.set_defaults(command=command)
    output = FOLDER / f"{'results' if name == 'run' else name}.json"
    parser.add_argument("--output", type=Path, default=output, help="JSON (%(default)s)")
    return parser


def _add_rounds(parser: argparse.ArgumentParser, seconds: float | None = None) -> None:
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is measured (%(default)s)")
    if seconds is not None:
        add("--seconds", type=float, default=seconds, help="of each measurement (%(default)s)")


def _list_of(names: Iterable[str], default: str = "all") -> str:
    return f"comma list of {','.join(names)} ({default})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
