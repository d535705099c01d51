"""Entry point of `python -m gateway.check`: diagnoses a deployment before it serves."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.bootstrap import build
from gateway.clients.api_keys_file import ApiKeysError
from gateway.config import (
    api_keys_of,
    can_verify_tokens,
    check_redis,
    check_tokens,
    routes_of,
)
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
Check settings, routes and their schemas, API keys, the keys of tokens, Kafka with every topic,
Redis, and whether a replies process reads the reply topic. The environment is that of the gateway.
The command publishes nothing and changes nothing. It prints one line for each finding; the line of
a failed check ends with what to do, as does that of a warning. The exit code is 1 if a check
failed.
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
        *_credentials(settings, routes),
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


def _credentials(settings: Settings, routes: Sequence[Route]) -> list[Finding]:
    if not routes:
        return []  # every route of a client would be an error
    try:
        api_keys = api_keys_of(settings, routes)
        check_tokens(settings, routes, api_keys)
    except (ApiKeysError, SettingsError) as error:
        return failures(str(error).splitlines())
    kinds = [] if api_keys is None else ["an API key"]
    kinds += [f"a token from {settings.jwt_issuer}"] if settings.jwt_issuer else []
    fact = (
        f"clients need {' or '.join(kinds)}" if kinds else "no client needs an API key or a token"
    )
    return [Finding(True, fact)]


def token_key_findings(settings: Settings) -> Iterator[Finding]:
    """Fetch the keys that verify tokens."""
    from gateway.clients.tokens.key_source import KeySource  # needs an optional package

    source = KeySource(settings.jwt_jwks_url, settings.jwt_algorithms, settings.jwt_jwks_refresh_s)
    error = source.fetch_now()
    if error:
        yield Finding(False, f"JWT_JWKS_URL: {error}; correct it, or check that server")
    else:
        algorithms = ", ".join(settings.jwt_algorithms)
        count = len(source.keys or ())
        plural = "" if count == 1 else "s"
        yield Finding(True, f"JWT_JWKS_URL has {count} key{plural} for {algorithms}")
    if not is_private(settings.jwt_jwks_url):
        yield Finding(
            True,
            "JWT_JWKS_URL is http://: keys can be replaced on their way, and then tokens forged; "
            "use https://",
            is_warning=True,
        )


def is_private(url: str) -> bool:
    """Return whether what *url* sends cannot be changed on its way."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _connections(settings: Settings, routes: Sequence[Route], before_start: bool) -> list[Finding]:
    gateway = build(replace(settings, jwt_issuer=""), routes, None)  # never started
    redis, health = gateway.redis, gateway.reply_path_health
    topics = list(reply_timeouts_by_topic(routes, settings.reply_timeout_s))
    reply_topic = settings.prefixed(settings.reply_topic)
    readers = settings.web_concurrency if settings.reply_delivery == "direct" else 0
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "Kafka": lambda: kafka_findings(
            gateway.publisher, settings.kafka_url, topics, reply_topic, readers
        )
    }
    if settings.jwt_issuer and can_verify_tokens():
        checks["JWT_JWKS_URL"] = lambda: token_key_findings(settings)
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
