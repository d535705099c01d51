"""Entry point of `python -m gateway.check`: diagnoses a deployment before it serves."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Sequence

from gateway.bootstrap import build
from gateway.clients.api_keys_file import ApiKeysError
from gateway.config import api_keys_of, check_redis, routes_of
from gateway.health.diagnostics import (
    NO_REDIS,
    Finding,
    caller_warnings,
    failures,
    kafka_findings,
    redis_findings,
    route_finding,
    run_checks,
)
from gateway.routing.table import Route, RoutesError, reply_timeouts_by_topic
from rendezvous.process.startup import exit_now
from settings import Settings, SettingsError

#: Maximum time for the checks of Kafka and Redis together, in seconds.
LIMIT_S = 9.0
_DESCRIPTION = """\
Check settings, routes and their schemas, API keys, Kafka with every topic, Redis, and whether a
replies process reads the reply topic. The environment is that of the gateway. The command
publishes nothing and changes nothing. It prints one line for each finding; the line of a failed
check ends with what to do, as does that of a warning. The exit code is 1 if a check failed.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings and return the exit code."""
    parser = argparse.ArgumentParser(
        "python -m gateway.check",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--before-start",
        action="store_true",
        help="do not check the replies processes, which a first deployment has not started yet",
    )
    found = _findings(before_start=parser.parse_args(arguments).before_start)
    stream = sys.stdout
    for finding in found:
        line = finding.line(stream.encoding or "ascii") + "\n"
        stream.write(line.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
    stream.flush()
    return 0 if all(finding.ok for finding in found) else 1


def _findings(before_start: bool = False) -> list[Finding]:
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        advice = "nothing else was checked; correct the settings, then check again"
        return failures([*error.errors, advice])
    routes, found = _routes(settings)
    return [
        Finding(True, "the settings are valid"),
        *found,
        *_api_keys(settings, routes),
        *_connections(settings, routes, before_start),
    ]


def _routes(settings: Settings) -> tuple[tuple[Route, ...], list[Finding]]:
    try:
        routes = routes_of(settings)
        check_redis(settings, routes)
    except (RoutesError, SettingsError) as error:
        return (), failures(str(error).splitlines())
    found = [route_finding(route, settings.reply_timeout_s) for route in routes]
    return routes, found + caller_warnings(routes)


def _api_keys(settings: Settings, routes: Sequence[Route]) -> list[Finding]:
    if not routes:
        return []  # every route of a client would be an error
    try:
        api_keys = api_keys_of(settings, routes)
    except ApiKeysError as error:
        return failures(str(error).splitlines())
    fact = "no client needs an API key" if api_keys is None else "clients need an API key"
    return [Finding(True, fact)]


def _connections(settings: Settings, routes: Sequence[Route], before_start: bool) -> list[Finding]:
    gateway = build(settings, routes, None)  # never started
    redis, health = gateway.redis, gateway.reply_path_health
    topics = list(reply_timeouts_by_topic(routes, settings.reply_timeout_s))
    reply_topic = settings.prefixed(settings.reply_topic)
    readers = settings.web_concurrency if settings.reply_delivery == "direct" else 0
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "Kafka": lambda: kafka_findings(
            gateway.publisher, settings.kafka_url, topics, reply_topic, readers
        )
    }
    if redis is None:
        checks["Redis"] = lambda: [NO_REDIS]
    else:
        checks["Redis"] = lambda: redis_findings(
            redis, settings.masked_redis_url(), None if before_start else health
        )
    return run_checks(checks, LIMIT_S)


if __name__ == "__main__":
    logging.disable()  # the findings already report what the libraries would log
    # The interpreter would wait for a library that hangs.
    exit_now(main())
