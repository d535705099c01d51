"""
Log format of all processes: one event per line, text or JSON.

Values of log lines come from clients, Kafka and Redis. The formatters make them safe, so that no
call of a logger can forget it; see log_text.py. The fields of an event are those of log_fields.py.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter as PlainJsonFormatter

from rendezvous.process.log_fields import FIELDS, fields_of, fields_text
from rendezvous.process.log_text import line, without_keys

#: Start of a line that continues an event, such as a traceback's: no event begins with it.
CONTINUATION = "  | "


class TextFormatter(logging.Formatter):
    """Formats an event as one line with its fields, and its traceback after CONTINUATION."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of *record*."""
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [line(self.formatMessage(record)) + fields_text(fields_of(record).items())]
        for text in _tracebacks(self, record):
            lines += [CONTINUATION + line(part) for part in text.split("\n")]
        return without_keys("\n".join(lines))


class JsonFormatter(PlainJsonFormatter):
    """Formats an event and whatever its call has in ``extra`` as one JSON object in ASCII."""

    def __init__(self) -> None:
        super().__init__(
            (),
            rename_fields={"exc_info": "exception", "stack_info": "stack"},
            # Its own encoder writes bytes as Base64, in which no key would be masked.
            json_encoder=json.JSONEncoder,
            json_default=str,
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Put what each event has before its fields."""
        log_data |= {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "event": record.message,
        }
        log_data |= fields_of(record)
        super().add_fields(log_data, record, message_dict)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out the fields without a value."""
        absent = [name for name in FIELDS if name in log_data and log_data[name] is None]
        return {name: value for name, value in log_data.items() if name not in absent}

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return the event as a line."""
        return _safe(super().jsonify_log_record(log_data))


def json_line(event: Mapping[str, object]) -> str:
    """Return *event* as a line of JSON without API keys."""
    return _safe(json.dumps(event))


def _safe(event: str) -> str:
    # DEL is the one control character in ASCII that JSON does not escape.
    return without_keys(event.replace("\x7f", "\\u007f"))


def configure_logs(log_format: str) -> None:
    """Send all log records to standard output, as "text" or "json" (LOG_FORMAT)."""
    handler = logging.StreamHandler(sys.stdout)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # kafka-python logs every attempt and, at DEBUG, every body. We log what matters of it,
    # with the setting to check.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # Python would print them to standard error as they are.
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _tracebacks(formatter: logging.Formatter, record: logging.LogRecord) -> Iterator[str]:
    if record.exc_info:
        yield formatter.formatException(record.exc_info)
    elif record.exc_text:
        yield record.exc_text
    if record.stack_info:
        yield formatter.formatStack(record.stack_info)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        logging.critical("this process failed", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
        logging.critical("thread %s failed", name, exc_info=exc_info)
