"""
`make soak` and `make leaks`: the whole deployment for minutes, disturbed or in peace.

    python -m tools.soak faults|leaks [--minutes N] [--seed N] [--mode group|broadcast]
                                [--kafka embedded|apache] [--output FOLDER]

Two gateways with two workers each, two replies, two responders, one Kafka, one Redis; 24 clients
that send --rate requests a second in all. Every request is numbered, and what has to come back
follows from its number; an oracle joins what the clients saw, what the responders did and what
Redis holds. Exit code 1 says that something came to light that must not be, 2 that it did not run.
"""

import argparse
import signal
import sys
from pathlib import Path

from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.process.child import ChildNotStarted
from tools.devstack.process.server import ServerNotStarted
from tools.soak import leaks
from tools.soak.deployment import NotReady, Topology
from tools.soak.faults.schedule import KINDS, schedule
from tools.soak.judge.findings import find
from tools.soak.report import tables
from tools.soak.report.plots import plot_run
from tools.soak.run import RunFailed, run

FINISHED, FAILED, COULD_NOT_RUN = 0, 1, 2


def main() -> int:
    """Run, report, and return 1 when anything happened that must not, 2 when it could not run."""
    options = _options()
    reason = ApacheKafka.unavailable_reason() if options.kafka == "apache" else None
    if reason is not None:
        sys.stderr.write(f"{reason}\n")
        return COULD_NOT_RUN
    signal.signal(signal.SIGTERM, _interrupt)
    folder = options.output or Path(".soak", f"{options.what}-{options.mode}-{options.kafka}")
    _clear(folder)
    try:
        return _faults(options, folder) if options.what == "faults" else _leaks(options, folder)
    except (ChildNotStarted, NotReady, RunFailed, ServerNotStarted) as error:
        sys.stderr.write(f"the run failed: {error}\nlogs: {folder}\n")
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _faults(options: argparse.Namespace, folder: Path) -> int:
    faults = schedule(options.seed, options.minutes)
    _say(f"{len(faults)} faults in {options.minutes:g} minutes; logs and results: {folder}")
    with Topology(options.kafka, options.mode, options.seed, folder) as topology:
        _say("the deployment answers; the load begins")
        evidence = run(topology, faults, options.minutes, options.rate, folder, _say)
    findings = find(evidence, options.seed)
    failures = list(findings.failures())
    _say("\n" + "\n".join(tables.table(findings)))
    tables.write_json(tables.as_json(findings, _shown(options)), folder / "result.json")
    title = (
        f"Rendezvous under faults: REPLIES_MODE={options.mode}, {options.kafka} Kafka, "
        f"seed {options.seed}, {len(evidence.seen)} requests"
    )
    plot_run(findings, title, folder / "faults.png")
    return _conclude(failures, folder)


def _leaks(options: argparse.Namespace, folder: Path) -> int:
    with Topology(options.kafka, options.mode, options.seed, folder) as topology:
        _say("the deployment answers; the load begins")
        found = leaks.measure(topology, options.minutes, options.rate, folder, _say)
    _say("\n" + "\n".join(leaks.table(found)))
    tables.write_json(leaks.as_json(found, _shown(options)), folder / "result.json")
    leaks.plot(found, folder / "leaks.png")
    return _conclude(list(found.failures()), folder)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _conclude(failures: list[str], folder: Path) -> int:
    _say(f"\nresults, plot and logs: {folder}")
    if failures:
        _say("\nFAILED:\n" + "\n".join(failures))
        return FAILED
    _say("passed")
    return FINISHED


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, so that nothing of it is taken for this one's."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.log", "*.jsonl", "ledger.sqlite*", "result.json", "*.png", "rush/*"):
        for file in folder.glob(pattern):
            file.unlink()


def _shown(options: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(options).items() if name != "output"}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.soak",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(__doc__ or "").strip(),
        epilog="faults: " + ", ".join(kind.name for kind in KINDS),
    )
    add = parser.add_argument
    add("what", choices=("faults", "leaks"), help="disturb it, or watch what it holds")
    add("--minutes", type=float, default=10, help="how long the load runs (%(default)s)")
    add("--seed", type=int, default=1, help="of requests and faults (%(default)s)")
    add("--rate", type=float, default=120, help="requests a second of all clients (%(default)s)")
    modes, kafkas = ("group", "broadcast"), ("embedded", "apache")
    add("--mode", choices=modes, default=modes[0], help="REPLIES_MODE (%(default)s)")
    add("--kafka", choices=kafkas, default=kafkas[0], help="which Kafka (%(default)s)")
    add("--output", type=Path, help="folder for results, plot and logs (.soak/...)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
