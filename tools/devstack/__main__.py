"""
`make run`: Kafka, Redis and the processes of the Procfile, on this machine.

    python -m tools.devstack [--servers-only] [--kafka embedded|apache] [--redis yes|no]
"""

import argparse
import logging
import os
import ssl
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from kafka.errors import KafkaError

from gateway.routing.table import Route, RoutesError, load_routes
from rendezvous.kafka_client.connect import kafka_problem
from rendezvous.kafka_client.handshake import NOT_KAFKA
from settings import Settings, SettingsError
from tools.devstack.console import Console
from tools.devstack.environment import plan_servers
from tools.devstack.kafka.jars import JarsNotFetched
from tools.devstack.kafka.topics import TopicsNotCreated, create_topics
from tools.devstack.ports import LOOPBACK, can_listen
from tools.devstack.process.child import ChildNotStarted
from tools.devstack.process.procfile import ProcfileError, read_procfile, start_process
from tools.devstack.process.server import ServerNotStarted
from tools.devstack.process.stop_signals import StopSignals
from tools.devstack.readiness import BODY, GatewayProbe, example_path
from tools.devstack.stack import EndedByItself, Stack

READY_LIMIT_S = 60.0
CHECK_PAUSE_S = 0.1
READY_PAUSE_S = 0.3


class CannotRun(Exception):
    """Raised with what the user must change."""


EXPECTED = (
    CannotRun,
    ChildNotStarted,
    JarsNotFetched,
    EndedByItself,
    ProcfileError,
    RoutesError,
    ServerNotStarted,
    SettingsError,
)


def main() -> int:
    """Run everything until Ctrl-C or SIGTERM; return the exit code."""
    options = _options()
    # kafka-python logs every attempt; errors that matter are printed below.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # With --servers-only, standard output has the settings only, for redirection into a file.
    console = Console(sys.stderr if options.servers_only else sys.stdout)
    stack = Stack(console)
    signals = StopSignals(stack.kill)
    code = 0
    try:
        _run(options, console, stack)
    except KeyboardInterrupt:
        console.print("stopping ...")
    except EXPECTED as error:
        Console(sys.stderr).print(str(error))
        code = 1
    finally:
        signals.stopping = True
        stack.stop()
        for line in console.requests.summary():
            console.print(line)
    return code


def _run(options: argparse.Namespace, console: Console, stack: Stack) -> None:
    planned = plan_servers(os.environ, options.kafka, with_redis=options.redis == "yes")
    settings = Settings.from_env({**os.environ, **planned.env})
    routes = load_routes(settings.routes_file, settings.kafka_prefix)
    commands = {}
    if not options.servers_only:
        commands = read_procfile(Path("Procfile"))
        if not settings.redis_url:
            del commands["replies"]  # it stores replies in Redis
        _check_port(settings.port)
    for server in planned.servers:
        stack.start_server(server)
    _create_topics(settings, routes, console)
    if options.servers_only:
        for name, value in planned.env.items():
            Console(sys.stdout).print(f"{name}={value}")
        console.print("running; Ctrl-C stops the servers")
    else:
        metrics = metrics_ports(settings, commands)
        env = planned.env | {"PORT": str(settings.port)}
        _start_processes(commands, env, metrics, console, stack)
        _wait_until_ready(settings, routes, metrics, console, stack)
    while True:
        stack.check()
        time.sleep(CHECK_PAUSE_S)


def _check_port(port: int) -> None:
    # Both, because macOS allows listeners on all addresses and on a single one at the same time.
    if not (can_listen("0.0.0.0", port) and can_listen(LOOPBACK, port)):
        raise CannotRun(
            f"PORT={port} is taken; stop the process that listens there, or choose another port, "
            f"for example: PORT={port + 1 if port < 65535 else 8000} make run"
        )


def _create_topics(settings: Settings, routes: tuple[Route, ...], console: Console) -> None:
    own = [settings.reply_topic, settings.responder_dlq_topic]
    names = [*map(settings.prefixed, filter(None, own)), *(route.topic for route in routes)]
    console.print(f"checking topics {', '.join(names)} on {settings.kafka_url} ...")
    try:
        if (problem := kafka_problem(settings)) is not None:
            raise CannotRun(problem)
        created = create_topics(settings.kafka_connection(), names)
    except TopicsNotCreated as error:
        missing = "\n".join(f"  {name}: {reason}" for name, reason in error.reasons.items())
        raise CannotRun(
            f"{settings.kafka_url} refused to create these topics; create them yourself:\n{missing}"
        ) from error
    except ssl.SSLError as error:
        raise CannotRun(
            "KAFKA_TRUSTED_CERT, KAFKA_CLIENT_CERT or KAFKA_CLIENT_CERT_KEY cannot be used: "
            f"{error.reason or error}"
        ) from error
    except KafkaError as error:
        raise CannotRun(f"KAFKA_URL={settings.kafka_url}: {NOT_KAFKA} ({error})") from error
    if created:
        console.print(f"created topics {', '.join(created)}")


def _start_processes(
    commands: Mapping[str, str],
    env: Mapping[str, str],
    metrics: Mapping[str, int],
    console: Console,
    stack: Stack,
) -> None:
    width = max(map(len, commands), default=0)
    for number, (name, command) in enumerate(commands.items()):
        console.print(f"starting {name}: {command}")
        output = console.prefixed(name, number, width)
        own = {"METRICS_PORT": str(metrics[name])} if metrics else {}
        stack.processes[name] = start_process(command, {**env, **own}, output)


def metrics_ports(settings: Settings, names: Iterable[str]) -> dict[str, int]:
    """Return METRICS_PORT of each process, consecutive ones; empty if it is not set."""
    first = settings.metrics_port
    return {name: first + number for number, name in enumerate(names)} if first else {}


def _wait_until_ready(
    settings: Settings,
    routes: tuple[Route, ...],
    metrics: Mapping[str, int],
    console: Console,
    stack: Stack,
) -> None:
    path = example_path(routes)
    probe = GatewayProbe(settings.port, path, settings.web_concurrency, settings.reply_timeout_s)
    deadline = time.monotonic() + READY_LIMIT_S
    console.print("waiting for the gateway to answer a request ...")
    while not probe.is_ready():
        stack.check()
        if time.monotonic() > deadline:
            raise CannotRun(f"not ready after {READY_LIMIT_S:g} s: {probe.problem}")
        time.sleep(READY_PAUSE_S)
    url = f"http://{LOOPBACK}:{settings.port}{path or '/readyz'}"
    body = f" -d '{BODY.decode()}'" if path else ""
    needs_key = settings.api_keys_file or settings.api_keys or settings.jwt_issuer
    key = " -H 'Authorization: Bearer <key or token>'" if needs_key else ""
    console.print(
        f"\nrunning; Ctrl-C stops everything\n\n{_addresses(settings, metrics)}\n"
        f"try it in another terminal:\n\ncurl -i {url}{body}{key}\n"
    )


def _addresses(settings: Settings, metrics: Mapping[str, int]) -> str:
    """Return the addresses of the pages, a line each."""
    pages = {"/": "everything else", "/docs": "the API, to read and to try"}
    if settings.live_page:
        pages["/live"] = "routes, replies, processes and problems, as they are now"
    base = f"http://{LOOPBACK}:{settings.port}"
    lines = [f"{base}{path:<6} {meaning}" for path, meaning in sorted(pages.items())]
    lines += [f"http://{LOOPBACK}:{port}/metrics of {name}" for name, port in metrics.items()]
    return "".join(f"  {line}\n" for line in lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.devstack",
        description="Start Kafka, Redis and the processes of the Procfile, and print a request to "
        "try. Kafka is not started if KAFKA_URL is set, nor Redis if REDIS_URL is.",
    )
    parser.add_argument(
        "--servers-only",
        action="store_true",
        help="start Kafka and Redis only, and print their settings as NAME=VALUE lines",
    )
    parser.add_argument(
        "--kafka",
        choices=("embedded", "apache"),
        default="embedded",
        help="broker to start; apache needs Java 17 and Maven (default: %(default)s)",
    )
    parser.add_argument(
        "--redis",
        choices=("yes", "no"),
        default="yes",
        help="no: start neither Redis nor the replies process (default: %(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
