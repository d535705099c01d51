"""
`make bench`: the floors, the textbook gateway and ours, in turn, on real Apache Kafka and Valkey.

    python -m bench [run]   everything under every case; the results as JSON, the plots as SVG

Each round measures every subject once, so that a machine whose speed drifts treats all alike: quote
the ratios inside one run. Only what is measured runs, beside Kafka, Redis and one responder. Needs
Java 17, Maven and wrk. Logs and results are in .bench/ unless told otherwise.
"""

import argparse
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import report
from bench.cases import CASES, chosen
from bench.comparison import Plan, compare
from bench.load import LoadFailed
from bench.machine import described, machine
from bench.progress import say
from bench.stack import Servers
from bench.subjects import RESPONDERS, SUBJECTS, NotReady
from devstack.apache_kafka import ApacheKafka
from devstack.child import ChildNotStarted
from devstack.kafka_jars import JarsNotFetched
from devstack.server import ServerNotStarted

FINISHED, FAILED, COULD_NOT_RUN = 0, 1, 2
FOLDER = Path(".bench")
LOGS = FOLDER / "logs"
EXPECTED = (ChildNotStarted, JarsNotFetched, LoadFailed, NotReady, ServerNotStarted)

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str]) -> int:
    """Run what *arguments* ask for and return the exit code."""
    options = _options(arguments)
    if (reason := _missing()) is not None:
        sys.stderr.write(f"{reason}\n")
        return COULD_NOT_RUN
    signal.signal(signal.SIGTERM, _interrupt)
    LOGS.mkdir(parents=True, exist_ok=True)
    command: Command = options.command
    try:
        return command(options)
    except EXPECTED as error:
        sys.stderr.write(f"{error}\nlogs: {LOGS}\n")
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(options: argparse.Namespace) -> int:
    cases = [c for c in options.cases if options.responder == "echo" or not c.delay_s]
    plan = Plan(options.subjects, cases, options.rounds, options.seconds, options.responder)
    with Servers(LOGS) as servers:
        where = machine(servers.redis)
        say(described(where))
        results = list(compare(servers, plan))
    say("\n" + "\n".join(report.table(results)))
    shown = {
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "responder": plan.responder,
        "subjects": list(plan.subjects),
        "cases": [case.name for case in plan.cases],
    }
    report.write_json(report.as_json(results, where, shown), options.output)
    say(f"\nresults: {options.output}")
    return FINISHED


def _missing() -> str | None:
    reason = ApacheKafka.unavailable_reason()
    if reason is None and shutil.which("wrk") is None:
        reason = "The load generator wrk is missing; install it, for example: apt-get install wrk"
    return reason


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _subjects(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := set(wanted) - set(SUBJECTS):
        raise argparse.ArgumentTypeError(f"no such subject: {', '.join(sorted(unknown))}")
    return [subject for subject in SUBJECTS if subject in wanted]


def _cases(text: str) -> list[object]:
    try:
        return list(chosen(text.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(__doc__ or "").strip(),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="everything under every case; this is the default")
    run.set_defaults(command=_run)
    _add_rounds(run, seconds=4)
    add = run.add_argument
    add("--cases", type=_cases, default=list(CASES), help=_list_of(c.name for c in CASES))
    add("--subjects", type=_subjects, default=list(SUBJECTS), help=_list_of(SUBJECTS))
    add("--responder", choices=RESPONDERS, default=RESPONDERS[0], help="ours cannot delay")
    add("--output", type=Path, default=FOLDER / "results.json", help="JSON (%(default)s)")
    # Without a command it is "run", with or without options.
    implied = [] if arguments and arguments[0] in (*commands.choices, "-h", "--help") else ["run"]
    return parser.parse_args([*implied, *arguments])


def _add_rounds(parser: argparse.ArgumentParser, seconds: float) -> None:
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is measured (%(default)s)")
    add("--seconds", type=float, default=seconds, help="of each measurement (%(default)s)")


def _list_of(names: object) -> str:
    return f"comma list of {','.join(names)} (all)"  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
