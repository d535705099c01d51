"""waitress's tasks: run the application, or answer a refused request."""

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from waitress.task import ErrorTask, WSGITask

from gateway.clients.admission import (
    BODY_UNREAD_ENVIRON_KEY,
    QUEUED_ENVIRON_KEY,
    SLOT_ENVIRON_KEY,
)
from gateway.clients.request_facts import (
    PROBLEM_ENVIRON_KEY,
    ROUTE_ENVIRON_KEY,
    SENT_ENVIRON_KEY,
)
from gateway.metrics import NO_ROUTE, observe_response, outcomes_of
from gateway.problems import BodyTooLarge, Sent
from gateway.server.http import refusals, spans
from rendezvous.process.traces.tracing import Span

#: Headers that the access log reads, by waitress's names.
_LOGGED_HEADERS = {"X_REQUEST_ID", "X_FORWARDED_FOR", "TRACEPARENT"}


@dataclass(frozen=True)
class LoggedResponse:
    """What gunicorn's access log reads of a response."""

    status: str
    headers: list[tuple[str, str]]
    sent: int  # bytes of the body


@dataclass(frozen=True)
class LoggedRequest:
    """What gunicorn's access log reads of a request."""

    parsed: Mapping[str, str]  # by waitress's names

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Name and value of each header; few formats need them."""
        return [(name.replace("_", "-"), value) for name, value in self.parsed.items()]


class UnreadBody(io.RawIOBase):
    """A body that was not received, since its client may not send one."""

    def read(self, size: int = -1) -> bytes:
        """Raise OSError, so that it is not taken for an empty body."""
        raise OSError("it was not received")


class _Logged:
    """A task whose response is written to the access log."""

    #: How long the request waited for a slot, in seconds.
    queued_s = 0.0

    def service(self) -> None:
        """Answer the request and log it."""
        task: Any = self
        task.queued_s = task.request.waited_s()
        begun_s = time.monotonic() - task.queued_s
        with spans.begin(task.request, task.queued_s) as span:
            try:
                super().service()  # type: ignore[misc]
                # Before it is logged: meanwhile the client sends its next request.
                task.channel.answered(task.request, closes=task.close_on_finish)
            finally:
                if task.complete:
                    self._note(time.monotonic() - begun_s, span)

    def _note(self, duration_s: float, span: Span) -> None:
        """Count the response, and write it to the access log and to *span*."""
        task: Any = self
        environ = self.logged_environ()
        observe_response(
            environ.get(ROUTE_ENVIRON_KEY),
            environ.get("REQUEST_METHOD"),
            int(task.status[:3]),
            environ.get(PROBLEM_ENVIRON_KEY),
            duration_s,
        )
        spans.describe(span, environ, int(task.status[:3]), task.response_headers)
        sent = task.content_bytes_written
        if not sent and task.request.command != "HEAD":
            sent = task.content_length or 0  # waitress does not count a file
        response = LoggedResponse(task.status, task.response_headers, sent)
        task.channel.connections.log.access(
            response,
            LoggedRequest(task.request.headers),
            environ,
            timedelta(seconds=duration_s),
        )

    def write(self, data: bytes) -> None:
        """Write the head of the response, and *data* unless it answers HEAD."""
        task: Any = self
        body = b"" if task.request.command == "HEAD" or not task.has_body else data
        if body and task.complete and not task.wrote_header:
            task.channel.write_with_next(task.build_response_header())
            task.wrote_header = True
        super().write(body)  # type: ignore[misc]

    def finish(self) -> None:
        """Write what is left of the response; the end of chunks would be a body too."""
        task: Any = self
        if not task.wrote_header:
            self.write(b"")
        if task.request.command != "HEAD":
            super().finish()  # type: ignore[misc]
        task.channel.write_soon(b"")  # the head, if the body was cut to nothing

    def logged_environ(self) -> dict[str, Any]:
        """Return the WSGI environment as far as it is known."""
        raise NotImplementedError


class ApplicationTask(_Logged, WSGITask):  # type: ignore[misc]  # waitress ships no types
    """Runs the application."""

    def execute(self) -> None:
        """Run the application and write its response."""
        self.channel.connections.count_request()
        super().execute()

    def build_response_header(self) -> bytes:
        """Return the head of the response; it says so if the connection closes."""
        connections = self.channel.connections
        if connections.draining or not connections.keepalive_s or self.request.body_unread:
            # waitress would add "Connection: Keep-Alive" for HTTP/1.0.
            self.request.headers["CONNECTION"] = "close"
        head: bytes = super().build_response_header()
        return head

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment."""
        if self.environ is None:
            environ = super().get_environment()
            environ["RAW_URI"] = self.request.request_uri
            environ["SERVER_SOFTWARE"] = "rendezvous"
            environ["wsgi.multiprocess"] = True
            environ[SLOT_ENVIRON_KEY] = self.request.has_slot
            environ[QUEUED_ENVIRON_KEY] = self.queued_s
            if self.request.body_unread:
                environ[BODY_UNREAD_ENVIRON_KEY] = True
                environ["wsgi.input"] = UnreadBody()
                environ.setdefault("CONTENT_LENGTH", "1")
                self.channel.discard_body()
        found: dict[str, Any] = self.environ
        return found

    def logged_environ(self) -> dict[str, Any]:
        """Return the WSGI environment, with what the application has added."""
        return self.get_environment()


class RefusalTask(_Logged, ErrorTask):  # type: ignore[misc]
    """Answers a request that never reaches the application, and closes the connection."""

    request: Any
    #: The type of the problem.
    kind = ""
    sent: Sent | None = None

    def execute(self) -> None:
        """Write the problem details."""
        channel = self.channel
        problem = refusals.problem_of(self.request.error)
        self.kind, self.sent = problem.kind, problem.sent
        outcomes_of(NO_ROUTE, problem.kind).inc()
        channel.connections.events.warning(
            "%s: %s: %s", channel.peer, problem.status, problem.detail
        )
        body = json.dumps(problem.body()).encode()
        self.version = "1.1"
        self.status = refusals.status_line(problem)
        self.response_headers.extend(refusals.headers_of(problem).items())
        self.set_close_on_finish()
        if problem.status == BodyTooLarge.status:
            channel.discard_body()
        self.content_length = len(body)
        self.write(body)

    def logged_environ(self) -> dict[str, Any]:
        """Return what is known of a request that could not be parsed."""
        request = self.request
        environ = {
            "REMOTE_ADDR": self.channel.addr[0],
            PROBLEM_ENVIRON_KEY: self.kind,
            SENT_ENVIRON_KEY: self.sent,
        }
        if request.command:
            environ |= {
                "REQUEST_METHOD": request.command,
                "RAW_URI": request.request_uri,
                "SERVER_PROTOCOL": f"HTTP/{request.version}",
            }
        for name in _LOGGED_HEADERS & request.headers.keys():
            environ[f"HTTP_{name}"] = request.headers[name]
        return environ
