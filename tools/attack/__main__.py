"""
`make attack`: attacks on a service of your own, with honest clients beside them.

    python -m tools.attack [ATTACK ...] [--seconds S] [--strength N] [--against REV]
    python -m tools.attack --url http://127.0.0.1:8000 [ATTACK ...]

Each attack gets the service as shipped: the processes of the Procfile with default settings, Kafka
and Redis, all on free ports of this machine. Four honest clients send POST /echo in a loop, and
GET /livez is probed ten times a second on new connections, before, during and after the attack. An
attack passes if 99 % of the probes are answered within 1 s, the honest rate stays at half of what
it was or more, the service answers 10 s after the end, and no hidden request was served.

Attackers are two processes of lower priority (nice 10) with a fixed pace, so that the figures
show what requests cost the server and not who wins the CPU: on one machine a faster attacker would
take the CPU from the server that it attacks. Linux only. Exit code: 0 passed, 1 failed, 2 could
not run.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.attack import report
from tools.attack.attacks.table import ATTACKS
from tools.attack.measure import AttackFailed, measure
from tools.attack.options import parse
from tools.attack.result import Result
from tools.attack.service import NotLoopback, NotReady, Servers, Tree, running_service
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.process.child import ChildNotStarted
from tools.devstack.process.server import ServerNotStarted
from tools.output import print_line, write_json
from tools.revision import NoSuchRevision, unpack

FINISHED, FAILED, COULD_NOT_RUN = 0, 1, 2
EXPECTED = (
    AttackFailed,
    ChildNotStarted,
    NoSuchRevision,
    NotLoopback,
    NotReady,
    ServerNotStarted,
)


def main(arguments: Sequence[str]) -> int:
    """Attack, report, and return the exit code."""
    options = parse(arguments, __doc__ or "")
    reason = ApacheKafka.unavailable_reason() if options.kafka == "apache" else None
    if reason is not None:
        sys.stderr.write(f"{reason}\n")
        return COULD_NOT_RUN
    signal.signal(signal.SIGTERM, _interrupt)
    options.output.mkdir(parents=True, exist_ok=True)
    results: list[Result | None] = []
    try:
        print_line(report.HEADINGS)
        for result in _running(options) if options.url else _started(options):
            results.append(result)
            if result is None:
                continue
            print_line(report.row(result))
            found = [one.as_json() for one in results if one is not None]
            write_json(found, options.output / "result.json")
    except EXPECTED as error:
        sys.stderr.write(f"{error}\nlogs: {options.output}\n")
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if None in results:
        return COULD_NOT_RUN
    return FAILED if any(result and list(result.failures()) for result in results) else FINISHED


def _running(options: argparse.Namespace) -> Iterator[Result | None]:
    service = running_service(options.url, options.api_key)
    service.wait_until_ready()
    for name in options.attacks:
        if ATTACKS[name].env or ATTACKS[name].limits_threads:
            print_line(f"{name:17} skipped: needs a service that is started for it")
            continue
        yield measure(service, "", name, options.strength, options.seconds, options.output)


def _started(options: argparse.Namespace) -> Iterator[Result | None]:
    with (
        _trees(options.against) as trees,
        Servers(options.kafka, dict(options.env), options.output) as servers,
    ):
        for name in options.attacks:
            for tree in trees:
                yield _attacked(servers, tree, name, options)


def _attacked(
    servers: Servers, tree: Tree, name: str, options: argparse.Namespace
) -> Result | None:
    """Start the service and attack it; return None and print the reason if that fails."""
    log_name = f"{name}-{tree.name}".replace("/", "-")
    try:
        with servers.service(tree, log_name, ATTACKS[name]) as service:
            return measure(
                service, tree.name, name, options.strength, options.seconds, options.output
            )
    except (AttackFailed, NotReady, TimeoutError) as error:
        print_line(f"{name:17} {tree.name:12.12} could not run: {error}")
        return None


@contextmanager
def _trees(revision: str | None) -> Iterator[list[Tree]]:
    """Yield this tree, after that of *revision* if there is one."""
    this = Tree("this", Path.cwd())
    if revision is None:
        yield [this]
        return
    with tempfile.TemporaryDirectory(prefix="rendezvous-") as folder:
        unpack(revision, Path(folder))
        yield [Tree(revision, Path(folder)), this]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
