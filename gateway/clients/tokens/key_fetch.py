"""Fetches a key set over HTTP."""

import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

#: Maximum time to connect, and to wait for more of a response, in seconds.
TIMEOUT_S = 3.0
#: Maximum time of a whole response, in seconds.
MAX_RESPONSE_S = 6.0
#: Maximum size of a response, in bytes.
MAX_RESPONSE_BYTES = 500_000
_CHUNK_BYTES = 65_536


class FetchError(Exception):
    """Raised with the reason, in one line."""


def fetch(url: str) -> bytes:
    """Return the document at *url*; raises FetchError."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with _opener().open(request, timeout=TIMEOUT_S) as response:
            return _read(response)
    except urllib.error.HTTPError as error:
        error.close()
        redirect = ", a redirect, which is not followed" if 300 <= error.code < 400 else ""
        raise FetchError(f"it answers HTTP {error.code}{redirect}") from None
    except (OSError, HTTPException) as error:
        raise FetchError(f"no answer ({getattr(error, 'reason', error)})") from None


def _read(response: Any) -> bytes:
    document = b""
    end_s = time.monotonic() + MAX_RESPONSE_S
    while chunk := response.read1(_CHUNK_BYTES):
        document += chunk
        if len(document) > MAX_RESPONSE_BYTES:
            raise FetchError(f"its response exceeds {MAX_RESPONSE_BYTES} bytes")
        if time.monotonic() > end_s:
            raise FetchError(f"its response takes longer than {MAX_RESPONSE_S:g} s")
    return document


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: they may lead from https to http, where anybody can insert keys."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)
