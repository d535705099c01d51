"""Entry point of `python -m gateway.check`: would this deployment serve, and if not, what to do."""

import argparse
import logging
import sys
from collections.abc import Sequence

from gateway.bootstrap import build
from gateway.clients.api_keys_file import ApiKeysError
from gateway.config import api_keys_of, routes_of
from gateway.health import diagnostics as findings
from gateway.health.diagnostics import Finding
from gateway.routing.table import Route, RoutesError, reply_timeouts_by_topic
from rendezvous.process.startup import exit_now
from settings import Settings, SettingsError

#: For Kafka and Redis together; what hangs is told then.
LIMIT_S = 9.0
_DESCRIPTION = """\
Check settings, routes and their schemas, API keys, Kafka with every topic, Redis, and whether a
replies process reads the reply topic. It takes the environment of the gateway, publishes nothing
and changes nothing. One line for each finding; those that are not as they should be say what to do
next. The exit code is 1 if there is one.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what is found and return the exit code."""
    argparse.ArgumentParser(
        "python -m gateway.check",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    found = _found()
    stream = sys.stdout
    for finding in found:
        line = finding.line(stream.encoding or "ascii") + "\n"
        stream.write(line.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
    stream.flush()
    return 0 if all(finding.good for finding in found) else 1


def _found() -> list[Finding]:
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        return [
            *findings.faults(error.errors),
            Finding(False, "nothing else was looked at: correct the settings, then check again"),
        ]
    routes, found = _routes(settings)
    return [
        Finding(True, "the settings are complete"),
        *found,
        *_keys(settings, routes),
        *_connections(settings, routes),
    ]


def _routes(settings: Settings) -> tuple[tuple[Route, ...], list[Finding]]:
    try:
        routes = routes_of(settings)
    except RoutesError as error:
        return (), findings.faults(str(error).splitlines())
    return routes, [findings.of_route(route, settings.reply_timeout_s) for route in routes]


def _keys(settings: Settings, routes: Sequence[Route]) -> list[Finding]:
    if not routes:
        return []  # without them every route that a client may use would be a fault
    try:
        keyring = api_keys_of(settings, routes)
    except ApiKeysError as error:
        return findings.faults(str(error).splitlines())
    asked = "no client needs a key" if keyring is None else "clients need one of the API keys"
    return [Finding(True, asked)]


def _connections(settings: Settings, routes: Sequence[Route]) -> list[Finding]:
    gateway = build(settings, routes, None)  # never started
    reply_topic = gateway.reply_path_health.topic
    request_topics = list(reply_timeouts_by_topic(routes, settings.reply_timeout_s))
    return findings.ask_all(
        {
            "Kafka": lambda: findings.of_kafka(
                gateway.publisher, settings.kafka_url, request_topics, reply_topic
            ),
            "Redis": lambda: findings.of_redis(
                gateway.redis, settings.masked_redis_url(), gateway.reply_path_health
            ),
        },
        LIMIT_S,
    )


if __name__ == "__main__":
    logging.disable()  # the libraries would say the same in words of their own
    # What hangs in a library would keep the interpreter from ending.
    exit_now(main())
