"""
`make soak`, `make leaks`, `make upgrade`: the whole deployment under load for minutes, with faults,
without, or while its processes are replaced by those of the previous release and back.

    python -m tools.soak faults|leaks|upgrade|requests|dead-letters|metrics [--minutes N] [--seed N]
            [--delivery direct|store|no-redis] [--mode group|broadcast] [--kafka embedded|apache]
            [--redis single|sentinel|cluster] [--only TARGET] [--output FOLDER] [--previous REV]
            [--requests N] [--clients N]

Two gateways with two workers each, two replies, two responders, one Kafka, and one Redis, or one
with two replicas and three Sentinels, or a cluster of three primaries and replicas; 24 clients
send --rate requests a second together. Every request has a number that determines the correct
response; some responders reply twice, or in two partitions, or differently. The logs of the
clients, the executions of the responders and the replies in Redis are joined and checked.
`requests` sends --requests without faults, from --clients. An upgrade admits no error at all: its
clients leave a gateway whose /readyz does not answer 200, as a load balancer does. `dead-letters`
has handlers that fail and ask for other attempts, and records that are no requests, while
responders and the broker are killed: each is answered, dead-lettered or expired. `metrics` has
faults that end no process, and reloads the gateways; the counters of all processes, as Prometheus
has scraped them, must equal what the oracle counted. Exit code: 0
passed, 1 failed, 2 could not run.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.process.child import ChildNotStarted
from tools.devstack.process.server import ServerNotStarted
from tools.output import print_line, write_json
from tools.revision import NoSuchRevision
from tools.soak import leaks
from tools.soak.dead_letters import measure as measuring
from tools.soak.deployment import DELIVERIES, REDISES, Deployment, NotReady
from tools.soak.faults.schedule import KINDS, kinds_of, schedule
from tools.soak.judge.findings import find
from tools.soak.metrics import measure as metrics
from tools.soak.report import tables
from tools.soak.report.plots import plot_run
from tools.soak.run import Evidence, RunFailed, run, run_requests
from tools.soak.upgrade import result
from tools.soak.upgrade.measure import measure
from tools.soak.upgrade.releases import PREVIOUS, PREVIOUS_TAG, MixedDeployment, unpack_previous

FINISHED, FAILED, COULD_NOT_RUN = 0, 1, 2


def main() -> int:
    """Run, report, and return the exit code."""
    options = _options()
    reason = ApacheKafka.unavailable_reason() if options.kafka == "apache" else None
    if reason is not None:
        sys.stderr.write(f"{reason}\n")
        return COULD_NOT_RUN
    signal.signal(signal.SIGTERM, _interrupt)
    name = f"{options.command}-{options.delivery}-{options.mode}-{options.kafka}"
    if options.redis != "single":
        name += f"-{options.redis}"
    folder = options.output or Path(".soak", name)
    _remove_old_files(folder)
    try:
        return COMMANDS[options.command](options, folder)
    except (ChildNotStarted, NoSuchRevision, NotReady, RunFailed, ServerNotStarted) as error:
        sys.stderr.write(f"the run failed: {error}\nlogs: {folder}\n")
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _faults(options: argparse.Namespace, folder: Path) -> int:
    kinds = kinds_of(options.kafka, options.delivery, options.redis)
    kinds = [kind for kind in kinds if options.only in ("", kind.target)]
    faults = schedule(options.seed, options.minutes, kinds)
    print_line(f"{len(faults)} faults in {options.minutes:g} minutes; logs and results: {folder}")
    with _deployment(options, folder) as deployment:
        print_line("the deployment is ready; starting the load")
        evidence = run(deployment, faults, options.minutes, options.rate, folder)
    return _judge(evidence, options, folder)


def _requests(options: argparse.Namespace, folder: Path) -> int:
    with _deployment(options, folder) as deployment:
        print_line("the deployment is ready; starting the load")
        evidence = run_requests(deployment, options.requests, options.clients, options.rate, folder)
    return _judge(evidence, options, folder)


def _deployment(options: argparse.Namespace, folder: Path) -> Deployment:
    return Deployment(
        options.kafka,
        options.mode,
        options.seed,
        folder,
        delivery=options.delivery,
        redis=options.redis,
    )


def _judge(evidence: Evidence, options: argparse.Namespace, folder: Path) -> int:
    findings = find(evidence, options.seed)
    failures = list(findings.failures())
    print_line("\n" + "\n".join(tables.table(findings)))
    write_json(tables.as_json(findings, _as_json(options)), folder / "result.json")
    title = (
        f"Rendezvous under faults: delivery {options.delivery}, REPLIES_MODE={options.mode}, "
        f"{options.kafka} Kafka, Redis {options.redis}, seed {options.seed}, "
        f"{len(evidence.exchanges)} requests"
    )
    plot_run(findings, title, folder / "soak.png")
    return _conclude(failures, folder)


def _leaks(options: argparse.Namespace, folder: Path) -> int:
    with _deployment(options, folder) as deployment:
        print_line("the deployment is ready; starting the load")
        found = leaks.measure(deployment, options.minutes, options.rate, folder)
    print_line("\n" + "\n".join(leaks.table(found)))
    write_json(leaks.as_json(found, _as_json(options)), folder / "result.json")
    leaks.plot(found, folder / "leaks.png")
    return _conclude(list(found.failures()), folder)


def _upgrade(options: argparse.Namespace, folder: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="rendezvous-") as tree:
        name = unpack_previous(Path(tree), options.previous)
        print_line(f"previous release: {name}; logs and results: {folder}")
        own = dict(options.env)
        with MixedDeployment(
            options.kafka, options.mode, options.seed, folder, Path(tree), own
        ) as deployment:
            print_line("the previous release is ready; starting the load")
            found = measure(deployment, options.minutes, options.rate, folder)
    print_line("\n" + "\n".join(result.table(found)))
    write_json(result.as_json(found, _as_json(options)), folder / "result.json")
    return _conclude(list(found.failures()), folder)


def _dead_letters(options: argparse.Namespace, folder: Path) -> int:
    with Deployment(
        options.kafka,
        options.mode,
        options.seed,
        folder,
        env=measuring.settings_of(folder) | dict(options.env),
        delivery=options.delivery,
        responder=measuring.RESPONDER,
        topics=(measuring.DLQ_TOPIC,),
    ) as deployment:
        print_line("the deployment is ready; starting the load")
        accounts = measuring.measure(deployment, options.kafka, options.minutes, options.rate)
    print_line("\n" + "\n".join(measuring.table(accounts)))
    failures = list(accounts.failures())
    result = {"outcomes": accounts.outcomes, "copies": accounts.copies, "failures": failures}
    write_json({"options": _as_json(options), **result}, folder / "result.json")
    return _conclude(failures, folder)


def _metrics(options: argparse.Namespace, folder: Path) -> int:
    with Deployment(
        options.kafka,
        options.mode,
        options.seed,
        folder,
        env=metrics.SETTINGS,
        delivery=options.delivery,
        with_metrics=True,
    ) as deployment:
        print_line("the deployment is ready; starting the load")
        found = metrics.measure(deployment, options.minutes, options.rate, folder)
    print_line("\n" + "\n".join(found.table()))
    write_json({"options": _as_json(options), "rows": found.as_json()}, folder / "result.json")
    return _conclude(list(found.failures()), folder)


COMMANDS = {
    "faults": _faults,
    "leaks": _leaks,
    "upgrade": _upgrade,
    "requests": _requests,
    "dead-letters": _dead_letters,
    "metrics": _metrics,
}


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _conclude(failures: list[str], folder: Path) -> int:
    print_line(f"\nresults, plot and logs: {folder}")
    if failures:
        print_line("\nFAILED:\n" + "\n".join(failures))
        return FAILED
    print_line("passed")
    return FINISHED


def _remove_old_files(folder: Path) -> None:
    """Remove the files of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.log", "*.jsonl", "*.sqlite*", "result.json", "*.png", "burst/*"):
        for file in folder.glob(pattern):
            file.unlink()


def _as_json(options: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(options).items() if name != "output"}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.soak",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(__doc__ or "").strip(),
        epilog="faults: " + ", ".join(kind.name for kind in KINDS),
    )
    add = parser.add_argument
    add(
        "command",
        choices=COMMANDS,
        help="faults, leaks, another release, --requests, handlers that fail, or counters",
    )
    add("--requests", type=int, default=20_000, help="of the command requests (%(default)s)")
    add("--clients", type=int, default=48, help="of the command requests (%(default)s)")
    add("--minutes", type=float, default=10, help="length of the load (%(default)s)")
    add("--seed", type=int, default=1, help="of requests and faults (%(default)s)")
    add("--rate", type=float, default=120, help="requests per second of all clients (%(default)s)")
    add(
        "--delivery",
        choices=DELIVERIES,
        default=DELIVERIES[0],
        help="REPLY_DELIVERY, or no-redis: neither Redis nor replies processes (%(default)s)",
    )
    modes, kafkas = ("group", "broadcast"), ("embedded", "apache")
    add("--mode", choices=modes, default=modes[0], help="REPLIES_MODE (%(default)s)")
    add(
        "--kafka",
        choices=kafkas,
        default=kafkas[0],
        help="broker to start; apache needs Java 17 and Maven (%(default)s)",
    )
    add("--redis", choices=REDISES, default="single", help="Redis to start (%(default)s)")
    targets = sorted({kind.target for kind in KINDS})
    add("--only", choices=targets, default="", help="of faults: those of one target")
    add("--previous", metavar="REV", help=f"of upgrade: {PREVIOUS_TAG}, or {PREVIOUS} without tags")
    add(
        "--env",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of upgrade and dead-letters: a setting of this release alone; may be repeated",
    )
    add("--output", type=Path, help="folder for results, plot and logs (below .soak/)")
    options = parser.parse_args()
    if options.command in ("leaks", "upgrade") and options.delivery == "no-redis":
        parser.error(f"{options.command} needs Redis; choose another --delivery")
    if options.command in ("leaks", "upgrade") and options.redis != "single":
        parser.error(f"{options.command} runs with --redis single")
    return options


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
