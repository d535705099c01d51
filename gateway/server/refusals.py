"""Responses to requests that the application never sees, as problem details."""

import json
from dataclasses import dataclass
from http import HTTPStatus

from gateway.problems import BodyTooLarge, HttpProblem, Overloaded, Problem, Sent, ShuttingDown
from gateway.server.framing import MAX_HEAD_BYTES, Verdict

#: Maximum time to receive a request head, in seconds.
HEAD_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Limits:
    """What a client may send."""

    max_body_bytes: int = 900_000
    request_timeout_s: float = 30.0  # to receive a request, from its first byte to its last

    def timeout_s(self, *, in_body: bool) -> float:
        """Return the maximum time to receive a request, or only its head."""
        return self.request_timeout_s if in_body else min(self.request_timeout_s, HEAD_TIMEOUT_S)


def too_large(verdict: Verdict, limits: Limits) -> Problem:
    """Return the problem of a head or a body over its limit."""
    if verdict is Verdict.BODY_TOO_LARGE:
        detail = f"the body exceeds the {limits.max_body_bytes} bytes of MAX_BODY_BYTES; send less"
        return BodyTooLarge(detail, sent=Sent.NO)
    detail = f"the head of the request exceeds {MAX_HEAD_BYTES} bytes; send less"
    return HttpProblem(431, "Request Header Fields Too Large", detail, {}, Sent.NO)


def too_slow(limits: Limits, alive: bool, *, in_body: bool) -> Problem:
    """Return the problem of a request incomplete in time or at shutdown."""
    if not alive:
        detail = "this gateway is shutting down, and the request was not complete; send it again"
        return ShuttingDown(detail, sent=Sent.NO)
    part = "request" if in_body else "head of the request"
    detail = f"the {part} was not complete after {limits.timeout_s(in_body=in_body):g} s"
    return HttpProblem(408, "Request Timeout", f"{detail}; send faster", {}, Sent.NO)


def too_many_bytes_held() -> Problem:
    """Return the problem of a request above the memory for incomplete requests."""
    detail = "this gateway process is receiving too many requests; send again after Retry-After"
    return Overloaded(detail, sent=Sent.NO)


def raw_response(problem: Problem) -> bytes:
    """Return *problem* as an HTTP response that closes the connection."""
    body = json.dumps(problem.body()).encode()
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **problem.headers,
    }
    status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"
    head = "\r\n".join([status, *(f"{name}: {value}" for name, value in headers.items())])
    return f"{head}\r\n\r\n".encode("latin-1") + body
