"""
OAuth tokens by client credentials (RFC 6749, section 4.4), renewed before they expire.

A token is fetched once for all clients of a process. Its renewal has a thread of its own: the
library asks for a token in the middle of its event loop.
"""

import base64
import functools
import json
import logging
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from kafka import errors as kafka_errors
from kafka.net.sasl.oauth import AbstractTokenProvider

logger = logging.getLogger(__name__)

#: Maximum time of a request to the token endpoint, in seconds.
TIMEOUT_S = 3.0
#: Share of its lifetime after which a token is renewed.
RENEWAL = 0.75
#: Pause after a failed request to the token endpoint, in seconds.
RETRY_S = 1.0
#: Lifetime of a token whose response does not state one, in seconds.
DEFAULT_LIFETIME_S = 60.0
#: Maximum time until a token is renewed, in seconds.
MAX_LIFETIME_S = 86_400.0
#: Maximum size of a response of the token endpoint, in bytes.
MAX_RESPONSE_BYTES = 100_000
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_ERROR_CODE = re.compile(r"[a-z_]{1,40}", re.ASCII)


class TokenError(kafka_errors.KafkaConnectionError):  # type: ignore[misc]  # no types
    """Raised with the reason, in one line, when there is no token."""


@dataclass(frozen=True)
class ClientCredentials:
    """What a token is asked for with; *extensions* are sent to the broker beside it."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""
    extensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Token:
    """A token and how long it is valid, in seconds."""

    text: str = field(repr=False)
    lifetime_s: float


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """
    Keeps a token for kafka-python's clients. For any thread.

    Args:
        fetch: returns a new token; raises TokenError.
    """

    def __init__(
        self,
        credentials: ClientCredentials,
        fetch: Callable[[ClientCredentials], Token] | None = None,
    ) -> None:
        super().__init__()
        self._credentials = credentials
        self._fetch = fetch or fetch_token
        self._lock = threading.Lock()
        self._token = ""
        self._expires_s = 0.0
        self._error: TokenError | None = None
        self._retry_s = 0.0
        self._timer: threading.Timer | None = None

    def token(self) -> str:
        """Return a valid token; raises TokenError."""
        with self._lock:
            now_s = time.monotonic()
            if now_s < self._expires_s:
                return self._token
            if self._error is not None and now_s < self._retry_s:
                raise TokenError(*self._error.args)
            try:
                self._keep(self._fetch(self._credentials))
            except TokenError as error:
                self._error, self._retry_s = error, time.monotonic() + RETRY_S
                raise
            return self._token

    def extensions(self) -> dict[str, str]:
        """Return what is sent to the broker beside the token."""
        return dict(self._credentials.extensions)

    def _keep(self, token: Token) -> None:
        self._token, self._error = token.text, None
        self._expires_s = time.monotonic() + token.lifetime_s
        self._renew_after(token.lifetime_s * RENEWAL)

    def _renew_after(self, pause_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(pause_s, self._renew)
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError as error:
            # The token is valid nevertheless, and the first connection after it asks for another.
            logger.warning("the OAuth token is not renewed before it expires: %s", error)

    def _renew(self) -> None:
        # Without the lock: the old token is valid meanwhile.
        try:
            token = self._fetch(self._credentials)
        except TokenError as error:
            with self._lock:
                if time.monotonic() < self._expires_s:
                    logger.warning("the OAuth token is not renewed yet: %s", error.args[0])
                    self._renew_after(RETRY_S)
            return  # once it has expired, the next connection asks for another
        with self._lock:
            self._keep(token)


@functools.cache
def token_provider(credentials: ClientCredentials) -> TokenProvider:
    """Return the provider of this process for *credentials*."""
    return TokenProvider(credentials)


def fetch_token(credentials: ClientCredentials) -> Token:
    """Return a new token of the token endpoint; raises TokenError."""
    try:
        with _opener().open(_request(credentials), timeout=TIMEOUT_S) as response:
            return _token(response.read(MAX_RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise TokenError(_refusal(error.code, error.read(MAX_RESPONSE_BYTES))) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise TokenError(
            f"KAFKA_OAUTH_TOKEN_URL does not answer ({reason}); check the network and the address"
        ) from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: urllib would send the secret along, to any host."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _request(credentials: ClientCredentials) -> urllib.request.Request:
    form = {"grant_type": "client_credentials"}
    if credentials.scope:
        form["scope"] = credentials.scope
    # RFC 6749, section 2.3.1: both are encoded before they are joined.
    pair = ":".join(
        quote(part, safe="") for part in (credentials.client_id, credentials.client_secret)
    )
    return urllib.request.Request(
        credentials.token_url,
        urlencode(form).encode(),
        {
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "Accept": "application/json",
        },
    )


def _token(body: bytes) -> Token:
    found = _json(body)
    text, lifetime_s = found.get("access_token"), found.get("expires_in", DEFAULT_LIFETIME_S)
    try:
        lifetime_s = min(float(lifetime_s), MAX_LIFETIME_S)
        if not isinstance(text, str) or not _TOKEN.fullmatch(text) or not lifetime_s > 0:
            raise ValueError
        return Token(text, lifetime_s)
    except (TypeError, ValueError):
        raise TokenError(
            "KAFKA_OAUTH_TOKEN_URL answers without a token; is it a token endpoint?"
        ) from None


def _refusal(status: int, body: bytes) -> str:
    code = _json(body).get("error")
    if not isinstance(code, str) or not _ERROR_CODE.fullmatch(code):
        code = ""
    fact = f"HTTP {status} {code}".strip()
    if code == "invalid_scope":
        return f"KAFKA_OAUTH_TOKEN_URL refuses the scope ({fact}); correct KAFKA_OAUTH_SCOPE"
    if code in ("invalid_client", "unauthorized_client") or status == 401:
        return (
            f"KAFKA_OAUTH_TOKEN_URL refuses KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET "
            f"({fact}); correct them"
        )
    return f"KAFKA_OAUTH_TOKEN_URL gives no token ({fact}); correct it, or see to that server"


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
