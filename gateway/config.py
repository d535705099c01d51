"""
The gateway's configuration: settings, routes and API keys, read and checked together.

gunicorn's master reads it, and its workers inherit it: all workers have the same configuration, a
replaced worker gets that of the others, and a file that is edited takes effect at the next SIGHUP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from gateway.clients.api_keys import ApiKeys
from gateway.clients.api_keys_file import ApiKeysError, load_api_keys
from gateway.routing.table import Route, RoutesError, load_routes
from gateway.routing.validation import RouteLimits
from settings import MAX_REPLY_TIMEOUT_S, Settings, SettingsError

#: What read() has read, in this process or in the one that forked it.
_current: "Configuration | None" = None


class ConfigurationError(Exception):
    """Raised with one line for each error."""


@dataclass(frozen=True)
class Configuration:
    """See settings.py, gateway/routing/table.py and gateway/clients/api_keys_file.py."""

    settings: Settings
    routes: tuple[Route, ...]
    api_keys: ApiKeys | None


def current() -> Configuration:
    """Return the current configuration; the first call reads it as read() does."""
    return _current or read()


def read() -> Configuration:
    """
    Read the configuration and make it the current one.

    Raises:
        ConfigurationError: with one line for each error; the current one is kept.
    """
    global _current
    try:
        settings = Settings.from_env()
        routes = routes_of(settings)
        api_keys = api_keys_of(settings, routes)
        check_redis(settings, routes)
        check_tokens(settings, routes, api_keys)
    except (SettingsError, RoutesError, ApiKeysError) as error:
        raise ConfigurationError(str(error)) from None
    _current = Configuration(settings, routes, api_keys)
    return _current


def read_again() -> list[str]:
    """Read the configuration again; return its errors, with which the current one is kept."""
    try:
        read()
    except ConfigurationError as error:
        return str(error).splitlines()
    return []


def routes_of(settings: Settings) -> tuple[Route, ...]:
    """Return the routes of ROUTES_FILE; raises RoutesError as load_routes() does."""
    limits = RouteLimits(MAX_REPLY_TIMEOUT_S, settings.max_body_bytes)
    return load_routes(settings.routes_file, settings.kafka_prefix, limits)


def api_keys_of(settings: Settings, routes: Sequence[Route]) -> ApiKeys | None:
    """Return the API keys, None for none; raises ApiKeysError as load_api_keys() does."""
    paths = dict.fromkeys(route.path for route in routes)
    return load_api_keys(settings.api_keys_file, settings.api_keys, paths)


def check_tokens(settings: Settings, routes: Sequence[Route], api_keys: ApiKeys | None) -> None:
    """Raise SettingsError when tokens cannot be verified, or no client can have a scope."""
    errors = []
    if settings.jwt_issuer and not can_verify_tokens():
        errors.append(
            "JWT_ISSUER is set, but PyJWT and cryptography are not installed; "
            "pip install -r requirements-jwt.txt"
        )
    if not settings.jwt_issuer and api_keys is None:
        errors += [
            f"{route.path} requires scopes, but everybody may call; set JWT_ISSUER or API_KEYS, "
            "or remove its scopes"
            for route in routes
            if route.scopes
        ]
    if errors:
        raise SettingsError(errors)


def can_verify_tokens() -> bool:
    """Return whether the packages for tokens, which are optional, are installed."""
    return bool(find_spec("jwt") and find_spec("cryptography"))


def check_redis(settings: Settings, routes: Sequence[Route]) -> None:
    """Raise SettingsError when REDIS_URL is not set and something cannot do without it."""
    if settings.redis_url:
        return
    errors = []
    if settings.reply_delivery == "store":
        errors.append("REDIS_URL is not set; REPLY_DELIVERY=store needs it")
    errors += [
        f"REDIS_URL is not set; {route.path} requires idempotency keys, which are kept in Redis: "
        'set it, or idempotency = "off" for that route'
        for route in routes
        if route.idempotency == "required"
    ]
    if errors:
        raise SettingsError(errors)
