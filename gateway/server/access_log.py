"""gunicorn's access log, as text or JSON, without API keys in URLs."""

import json
import logging
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from gateway.clients.api_keys import KEY_PATTERN, KEY_PREFIX
from gateway.clients.client import CLIENT_ENVIRON_KEY

#: The access log of gunicorn.conf.py, in gunicorn's notation.
ACCESS_LOG_FORMAT = (
    '%(h)s "%(r)s" %(s)s %(b)s %(M)sms id=%({x-correlation-id}o)s request_id=%({x-request-id}i)s'
    f" client=%({{{CLIENT_ENVIRON_KEY}}}e)s"
)


class GatewayLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's logger, whose access log never raises."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log one request."""
        if not self.access_log_enabled:
            return
        try:
            self._log_request(resp, req, environ, request_time)
        except Exception:  # noqa: BLE001  # it is logged
            self.exception("a request is missing in the access log")

    def _log_request(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        super().access(resp, req, environ, request_time)

    def atoms(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> dict[str, Any]:
        """Return the values for the format of the access log."""
        atoms: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        return atoms | {"r": without_keys(atoms["r"])}


class TextAccessLogger(GatewayLogger):
    """Logs requests in ACCESS_LOG_FORMAT, or in another configured format."""

    def _log_request(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        if self.cfg.access_log_format != ACCESS_LOG_FORMAT:
            super()._log_request(resp, req, environ, request_time)
        else:
            # Without gunicorn's atoms: it copies all headers and variables for these few.
            self._write(_line(resp, environ, request_time))

    def _write(self, line: str) -> None:
        handlers = self.access_log.handlers
        if len(handlers) == 1 and type(handlers[0]) is logging.StreamHandler:
            # gunicorn's own, for "-": it adds nothing to the line, which needs no log record.
            handlers[0].stream.write(line + "\n")
        else:
            self.access_log.info(line)


class JsonAccessLogger(GatewayLogger):
    """Logs each request as one JSON object, which no path can break."""

    def _log_request(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        headers = {str(name).lower(): str(value) for name, value in resp.headers}
        event = {
            "time": self.now(),
            "event": "access",
            "client": environ.get("REMOTE_ADDR"),
            "client_name": environ.get(CLIENT_ENVIRON_KEY),
            "method": environ.get("REQUEST_METHOD"),
            "target": without_keys(str(environ.get("RAW_URI"))),
            "status": int(_status(resp)),
            "bytes": getattr(resp, "sent", None),
            "duration_ms": round(request_time.total_seconds() * 1000),
            "correlation_id": headers.get("x-correlation-id"),
            "request_id": environ.get("HTTP_X_REQUEST_ID"),
        }
        self.access_log.info(json.dumps(event))


def _line(resp: Any, environ: Any, request_time: timedelta) -> str:
    target = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ['SERVER_PROTOCOL']}"
    request_id = _quoted(environ.get("HTTP_X_REQUEST_ID", "-"))
    correlation_id = next((v for k, v in resp.headers if k.lower() == "x-correlation-id"), "-")
    client = _quoted(environ.get(CLIENT_ENVIRON_KEY, "-"))
    return (
        f'{environ.get("REMOTE_ADDR", "-")} "{_quoted(without_keys(target))}" '
        f"{_status(resp)} {resp.sent} {request_time // timedelta(milliseconds=1)}ms "
        f"id={_quoted(correlation_id)} request_id={request_id} client={client}"
    )


def _status(resp: Any) -> str:
    # Not status_code: gunicorn's response to a malformed request has none.
    return str(resp.status).split(None, 1)[0]


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


def without_keys(text: str) -> str:
    """Return *text* with stars for any API key."""
    return KEY_PATTERN.sub(f"{KEY_PREFIX}***", text)
