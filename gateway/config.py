"""
What the gateway runs by: settings, routes and API keys, read and checked together.

gunicorn's master reads it, and its workers inherit it. So all workers have the same, one that is
replaced gets what the others have, and a file that is edited counts from the next SIGHUP on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.clients.api_keys import ApiKeys
from gateway.clients.api_keys_file import ApiKeysError, load_api_keys
from gateway.routing.table import Route, RoutesError, load_routes
from gateway.routing.validation import RouteLimits
from settings import MAX_REPLY_TIMEOUT_S, Settings, SettingsError

#: What read() has read, in this process or in the one that forked it.
_current: "Configuration | None" = None


class ConfigurationError(Exception):
    """Raised with one line for each fault."""


@dataclass(frozen=True)
class Configuration:
    """All of it; see settings.py, gateway/routing/table.py and gateway/clients/api_keys_file.py."""

    settings: Settings
    routes: tuple[Route, ...]
    keyring: ApiKeys | None


def current() -> Configuration:
    """
    Return what holds now, which is read only if nobody has.

    Raises:
        ConfigurationError: see read().
    """
    return _current or read()


def read() -> Configuration:
    """
    Read everything and let it hold from now on.

    Raises:
        ConfigurationError: with one line for each fault; what held before still does.
    """
    global _current
    try:
        settings = Settings.from_env()
        routes = routes_of(settings)
        keyring = api_keys_of(settings, routes)
    except (SettingsError, RoutesError, ApiKeysError) as error:
        raise ConfigurationError(str(error)) from None
    _current = Configuration(settings, routes, keyring)
    return _current


def routes_of(settings: Settings) -> tuple[Route, ...]:
    """Return the routes of ROUTES_FILE; raises RoutesError as load_routes() does."""
    limits = RouteLimits(MAX_REPLY_TIMEOUT_S, settings.max_body_bytes)
    return load_routes(settings.routes_file, settings.kafka_prefix, limits)


def api_keys_of(settings: Settings, routes: Sequence[Route]) -> ApiKeys | None:
    """Return the API keys, None for none; raises ApiKeysError as load_api_keys() does."""
    paths = dict.fromkeys(route.path for route in routes)
    return load_api_keys(settings.api_keys_file, settings.api_keys, paths)


def validate_before_reload(server: Any) -> None:
    """
    Let gunicorn's arbiter *server* go on with what it has when the new configuration is faulty.

    By itself it would end over the fault, or start workers that cannot, again and again.
    """
    reload: Callable[[], None] = server.reload

    def reload_if_faultless() -> None:
        try:
            read()
        except ConfigurationError as error:
            for line in str(error).splitlines():
                server.log.error("reload refused: %s", line)
            return
        reload()

    server.reload = reload_if_faultless
