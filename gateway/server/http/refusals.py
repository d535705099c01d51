"""Responses to requests that the application never sees, as problem details."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gateway.problems import BodyTooLarge, HttpProblem, Overloaded, Problem, Sent, ShuttingDown

#: Maximum size of a request head.
MAX_HEAD_BYTES = 65_536
#: Maximum time to receive a request head, and of silence on a new connection, in seconds.
HEAD_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Limits:
    """What a client may send, and get."""

    max_body_bytes: int = 900_000
    request_timeout_s: float = 30.0  # to receive a request, from its first byte to its last
    max_reply_bytes: int = 900_000

    def timeout_s(self, *, in_body: bool) -> float:
        """Return the maximum time to receive a request, or only its head."""
        return self.request_timeout_s if in_body else min(self.request_timeout_s, HEAD_TIMEOUT_S)


def problem_of(error: Any) -> Problem:
    """Return the problem for an error of the parser, or *error* if it is a problem."""
    if isinstance(error, Problem):
        return error
    if error.code == BodyTooLarge.status:
        return BodyTooLarge(str(error.body), sent=Sent.NO)
    if error.code == HTTPStatus.INTERNAL_SERVER_ERROR:
        detail = "the gateway failed; its log has the cause"
        return HttpProblem(error.code, error.reason, detail, {})
    return HttpProblem(error.code, error.reason, str(error.body), {}, Sent.NO)


def too_slow(limits: Limits, alive: bool, *, in_body: bool) -> Problem:
    """Return the problem of a request incomplete in time or at shutdown."""
    if not alive:
        detail = "this gateway is shutting down, and the request was not complete; send it again"
        return ShuttingDown(detail, sent=Sent.NO)
    part = "request" if in_body else "head of the request"
    detail = f"the {part} was not complete after {limits.timeout_s(in_body=in_body):g} s"
    return HttpProblem(408, "Request Timeout", f"{detail}; send faster", {}, Sent.NO)


def too_many_bytes_held() -> Problem:
    """Return the problem of the largest request when the memory for incomplete ones is full."""
    detail = "this gateway process is receiving too many requests; send again after Retry-After"
    return Overloaded(detail, sent=Sent.NO)


def status_line(problem: Problem) -> str:
    """Return the status with its reason phrase."""
    return f"{problem.status} {HTTPStatus(problem.status).phrase}"


def headers_of(problem: Problem) -> dict[str, str]:
    """Return the headers of the response, without those of the connection."""
    return {
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **problem.headers,
    }


def raw_response(problem: Problem) -> bytes:
    """Return *problem* as an HTTP response that closes the connection."""
    body = json.dumps(problem.body()).encode()
    headers = headers_of(problem) | {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [
        f"HTTP/1.1 {status_line(problem)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
