"""gunicorn's logs, as text or JSON: values that forge no line or field, and no API keys."""

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

from gunicorn.glogging import Logger, SafeAtoms

from gateway.clients.client import CLIENT_ENVIRON_KEY
from gateway.clients.request_facts import request_fields
from rendezvous.process.log_fields import Fields, fields_text
from rendezvous.process.log_text import field, quoted, without_keys
from rendezvous.process.logs import JsonFormatter, TextFormatter, json_line

#: The access log of gunicorn.conf.py, in gunicorn's notation.
ACCESS_LOG_FORMAT = (
    '%(h)s "%(r)s" %(s)s %(b)s duration_ms=%(M)s correlation_id=%({x-correlation-id}o)s'
    f" request_id=%({{x-request-id}}i)s client=%({{{CLIENT_ENVIRON_KEY}}}e)s%(fields)s"
)
#: The fields that a line of text has if they have a value, as ``%(fields)s``; see log_fields.py.
_OPTIONAL_FIELDS = (
    "trace_id", "span_id", "route", "topic", "problem_type", "sent", "forwarded_for",
)  # fmt: skip
#: The time, which has a space, and the request line and fields, whose parts are escaped.
_SAFE_ATOMS = ("t", "r", "fields")
#: Headers that are secrets, in a format that names them.
_SECRET_ATOMS = ("{authorization}i", "{http_authorization}e", "{cookie}i", "{http_cookie}e")
#: The accepted id replaces these values, which may be anything.
_REQUEST_ID_ATOMS = ("{x-request-id}i", "{http_x_request_id}e")
#: The names of atoms that a format has in quotes, where spaces end no field.
_QUOTED_ATOM = re.compile(r'"%\(([^)]*)\)s"')


#: Where the worker class of gunicorn.conf.py is.
_OUR_WORKERS = "gateway.server."


class _Atoms(SafeAtoms):  # type: ignore[misc]  # gunicorn ships no types
    """Atoms as they are: atoms() has escaped them already."""

    def __init__(self, atoms: Mapping[str, Any]) -> None:
        dict.__init__(self, atoms)


class GatewayLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's logger, whose access log never raises."""

    atoms_wrapper_class = _Atoms

    def __init__(self, cfg: Any) -> None:
        # gunicorn makes its logger before it imports the worker class, which may patch the process.
        refuse_other_workers(cfg)
        super().__init__(cfg)

    def setup(self, cfg: Any) -> None:
        """Configure both logs; gunicorn calls it at start and at each reload."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                if getattr(handler, "_gunicorn", False):  # not those of the operator's logconfig
                    handler.setFormatter(self._formatter(log, handler))

    def _formatter(self, log: logging.Logger, handler: logging.Handler) -> logging.Formatter:
        gunicorns = handler.formatter or logging.Formatter(self.error_fmt)
        return TextFormatter(gunicorns._fmt, gunicorns.datefmt)

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log one request; *environ* may lack any key."""
        if not self.access_log_enabled:
            return
        try:
            self._log_request(resp, req, environ or {}, request_time)
        except Exception:  # noqa: BLE001  # it is logged
            self.exception("a request is missing in the access log")

    def _log_request(
        self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta
    ) -> None:
        super().access(resp, req, environ, request_time)

    def atoms(
        self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta
    ) -> dict[str, Any]:
        """Return the values for the format of the access log."""
        facts = _Facts.of(resp, environ)
        atoms: dict[str, Any] = super().atoms(
            SimpleNamespace(status=facts.status, headers=_headers(resp), sent=facts.body_bytes),
            SimpleNamespace(headers=_headers(req)),
            # What gunicorn indexes.
            {"REQUEST_METHOD": None, "RAW_URI": None, "SERVER_PROTOCOL": None} | dict(environ),
            request_time,
        )
        atoms["r"] = facts.request_line()
        atoms["fields"] = facts.optional_fields()
        for name in _REQUEST_ID_ATOMS:
            atoms[name] = facts.fields["request_id"]
        in_quotes = _QUOTED_ATOM.findall(self.cfg.access_log_format)
        return {name: _atom(name, value, in_quotes) for name, value in atoms.items()}


def refuse_other_workers(cfg: Any) -> None:
    """Exit if *cfg* names a worker class of gunicorn's or of others."""
    name = str(cfg.settings["worker_class"].get())
    if not name.startswith(_OUR_WORKERS):
        sys.exit(
            f"worker_class={name} (gunicorn -k) is not supported: only the gateway's own worker "
            "receives the stop signals that gunicorn.conf.py holds, and drains; remove -k from the "
            "command and GUNICORN_CMD_ARGS"
        )


class TextAccessLogger(GatewayLogger):
    """Logs requests in ACCESS_LOG_FORMAT, or in another configured format."""

    def _log_request(
        self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta
    ) -> None:
        if self.cfg.access_log_format != ACCESS_LOG_FORMAT:
            super()._log_request(resp, req, environ, request_time)
        else:
            # Without gunicorn's atoms: it copies all headers and variables for these few.
            self._write(_Facts.of(resp, environ).text(request_time))

    def _write(self, line: str) -> None:
        handlers = self.access_log.handlers
        if len(handlers) == 1 and type(handlers[0]) is logging.StreamHandler:
            # gunicorn's own, for "-": it adds nothing to the line, which needs no log record.
            handlers[0].stream.write(line + "\n")
        else:
            self.access_log.info(line)


class JsonAccessLogger(GatewayLogger):
    """Logs each request, and gunicorn's own events, as one JSON object each."""

    def _formatter(self, log: logging.Logger, handler: logging.Handler) -> logging.Formatter:
        # Requests are JSON already; syslog has gunicorn's name before each line.
        if log is self.access_log or not isinstance(handler, logging.StreamHandler):
            return super()._formatter(log, handler)
        return JsonFormatter()

    def _log_request(
        self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta
    ) -> None:
        facts = _Facts.of(resp, environ)
        event = {
            "time": self.now(),
            "event": "access",
            "address": facts.address,
            "method": facts.method,
            "target": facts.target,
            "status": int(facts.status) if facts.status else None,
            "bytes": facts.body_bytes,
            "duration_ms": round(request_time.total_seconds() * 1000),
            **facts.fields,
        }
        self.access_log.info(json_line(event))


class _Facts(NamedTuple):
    """What is logged of a request; None where the request or its response has nothing."""

    address: str | None
    method: str | None
    target: str | None
    protocol: str | None
    status: str | None
    body_bytes: int | None
    fields: Fields  # by the names of log_fields.py

    @classmethod
    def of(cls, resp: Any, environ: Mapping[str, Any]) -> "_Facts":
        """Return the facts of a request, whose *environ* may lack any key."""
        fields = request_fields(environ)
        for name, value in _headers(resp):
            if name.lower() == "x-correlation-id":
                fields["correlation_id"] = value
        return cls(
            address=_text(environ, "REMOTE_ADDR"),
            method=_text(environ, "REQUEST_METHOD"),
            target=_target(environ),
            protocol=_text(environ, "SERVER_PROTOCOL"),
            status=_status(resp),
            body_bytes=getattr(resp, "sent", None),
            fields=fields,
        )

    def request_line(self) -> str:
        """Return method, target and protocol as three fields, for a place between quotes."""
        return f"{field(self.method)} {field(self.target)} {field(self.protocol)}"

    def optional_fields(self) -> str:
        """Return the fields of _OPTIONAL_FIELDS that have a value, each after a space."""
        return fields_text((name, self.fields[name]) for name in _OPTIONAL_FIELDS)

    def text(self, request_time: timedelta) -> str:
        """Return the line in ACCESS_LOG_FORMAT."""
        fields = self.fields
        return without_keys(
            f'{field(self.address)} "{self.request_line()}" {field(self.status)} '
            f"{field(self.body_bytes)} duration_ms={request_time // timedelta(milliseconds=1)} "
            f"correlation_id={field(fields['correlation_id'])} "
            f"request_id={field(fields['request_id'])} client={field(fields['client'])}"
            f"{self.optional_fields()}"
        )


def _text(environ: Mapping[str, Any], key: str) -> str | None:
    value = environ.get(key)
    return None if value is None else str(value)


def _target(environ: Mapping[str, Any]) -> str | None:
    for key in ("RAW_URI", "REQUEST_URI"):
        if (target := _text(environ, key)) is not None:
            return target
    return None


def _status(resp: Any) -> str | None:
    # Not status_code: gunicorn's response to a malformed request has none.
    code = str(getattr(resp, "status", None) or "").split(None, 1)[:1]
    return code[0] if code and code[0].isdecimal() else None


def _headers(message: Any) -> Iterable[tuple[str, Any]]:
    headers = getattr(message, "headers", None) or ()
    return headers.items() if hasattr(headers, "items") else headers


def _atom(name: str, value: Any, in_quotes: list[str]) -> Any:
    if value is None:
        return "-"
    if name in _SECRET_ATOMS:
        return "***"
    if not isinstance(value, str):
        return value
    if name not in _SAFE_ATOMS:
        value = quoted(value) if name in in_quotes else field(value)
    return without_keys(value)
