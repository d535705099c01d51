"""gunicorn's access log, as text or as JSON, without the API keys that some put into their URL."""

import json
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from gateway.callers import CLIENT_IN_ENVIRON
from gateway.keyring import KEY_PATTERN, KEY_PREFIX


class TextAccessLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's logger, except that no API key is in the request line."""

    def atoms(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> dict[str, Any]:
        """Return what the format of the access log is filled with."""
        atoms: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        return atoms | {"r": without_keys(atoms["r"])}


class JsonAccessLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """
    gunicorn's logger, except that the access log is built as JSON and not pasted together.

    One object per line, whatever a client puts into its path.
    """

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log one request."""
        if not self.cfg.accesslog:
            return
        headers = {str(name).lower(): str(value) for name, value in resp.headers}
        event = {
            "time": self.now(),
            "event": "access",
            "client": environ.get("REMOTE_ADDR"),
            "client_name": environ.get(CLIENT_IN_ENVIRON),
            "method": environ.get("REQUEST_METHOD"),
            "target": without_keys(str(environ.get("RAW_URI"))),
            "status": resp.status_code,
            "bytes": getattr(resp, "sent", None),
            "duration_ms": round(request_time.total_seconds() * 1000),
            "correlation_id": headers.get("x-correlation-id"),
            "request_id": environ.get("HTTP_X_REQUEST_ID"),
        }
        self.access_log.info(json.dumps(event))


def without_keys(text: str) -> str:
    """Return *text* with stars for any API key."""
    return KEY_PATTERN.sub(f"{KEY_PREFIX}***", text)
