"""A problem as the bytes of an HTTP response, for clients whom the application never sees."""

import json
from http import HTTPStatus

from gateway.problems import Problem


def raw_response(problem: Problem) -> bytes:
    """Return the whole response that tells *problem*; the connection is to be closed after it."""
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
