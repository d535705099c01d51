"""A client of the gateway: its name, permitted routes and limits, and its label for a request."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Key of the client's name in the request's WSGI environment, for the access log.
CLIENT_ENVIRON_KEY = "rendezvous.client"
#: Start of the names of clients with tokens; no client with an API key can have such a name.
TOKEN_NAME_PREFIX = "jwt:"
#: The name in metrics of every client with a token.
TOKEN_LABEL = "jwt:*"
#: Token characters (RFC 9110, section 5.6.2), and the others of Base64 and URIs.
_REQUEST_ID = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z/:=@-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate limit: requests per fixed window."""

    requests: int
    window_s: int  # windows begin where Unix time is a multiple of it


@dataclass(frozen=True, slots=True)
class Client:
    """A client, and what it may use."""

    name: str  # in logs and in the ids of its requests; empty if clients need no credential
    routes: frozenset[str] | None = None  # paths of routes.toml that it may use; None for all
    rate: Rate | None = None  # over all replicas; None for no limit
    in_flight_share: float = 1.0  # of a worker's slots; above 0 and up to 1
    is_admin: bool = False  # may see the live page
    caller: str = ""  # the user behind the client, as "<header>=<value>"; empty if unknown
    scopes: frozenset[str] = frozenset()  # that routes may require

    @property
    def owner(self) -> str:
        """The text that distinguishes client and caller from all others."""
        # The name of a header contains no slash, and that of a client has none left.
        name = self.name
        if "/" in name or "%" in name:
            name = name.replace("%", "%25").replace("/", "%2F")
        return f"{name}/{self.caller}" if self.caller else name

    @property
    def label(self) -> str:
        """The name in metrics; clients with tokens share one, to bound their number."""
        return TOKEN_LABEL if self.name.startswith(TOKEN_NAME_PREFIX) else self.name

    def may_use(self, path: str) -> bool:
        """Return whether it may use the route *path* of routes.toml."""
        return self.routes is None or path in self.routes

    def lacks(self, required: Iterable[str]) -> list[str]:
        """Return which of the *required* scopes it does not have."""
        return [scope for scope in required if scope not in self.scopes]

    def slots_of(self, max_in_flight: int) -> int:
        """Return its in-flight limit, at least one, in a worker with *max_in_flight* slots."""
        return max(1, int(self.in_flight_share * max_in_flight))


#: Every client of a gateway that requires no credential.
ANONYMOUS = Client("")


def request_id_of(environ: Mapping[str, Any]) -> str | None:
    """Return the client's X-Request-ID; None if it is missing or invalid."""
    value: str = environ.get("HTTP_X_REQUEST_ID") or ""
    return value if _REQUEST_ID.fullmatch(value) else None
