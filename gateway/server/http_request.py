"""gunicorn's parser of a request that is whole, without what it would find out anew each time."""

from typing import Any

from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

#: So many addresses of proxies and clients are remembered.
MAX_PEERS = 1_024


class SteadyConfig:
    """
    gunicorn's settings, which do not change while a worker lives, as plain attributes.

    gunicorn looks each up in a table of objects, some thirty times for a request.
    """

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg
        #: Whether a peer, by its address, may speak for others; as far as was asked.
        self.trusted_peers: dict[Any, bool] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cfg, name)
        setattr(self, name, value)
        return value


class HttpRequest(Request):  # type: ignore[misc]  # gunicorn ships no types
    """One request; which peers are trusted proxies is worked out once for each of them."""

    def _peer_is_trusted_proxy(self) -> bool:
        peer = self.peer_addr[0] if isinstance(self.peer_addr, tuple) else None
        trusted = self.cfg.trusted_peers
        found: bool | None = trusted.get(peer)
        if found is None:
            found = bool(super()._peer_is_trusted_proxy())
            if len(trusted) >= MAX_PEERS:
                trusted.clear()
            trusted[peer] = found
        return found


class HttpParser(RequestParser):  # type: ignore[misc]
    """What gunicorn calls a parser."""

    mesg_class = HttpRequest
