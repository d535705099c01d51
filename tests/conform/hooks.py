"""Hooks for schemathesis: check that each response is described, count the responses."""

import os
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any

#: Environment variable with the file to which each response appends a line.
RESPONSES_FILE = "CONFORM_RESPONSES_FILE"
PROBLEM = "application/problem+json"
_numbers = count()
#: The ids of the last requests.
_issued: deque[str] = deque(maxlen=20)


def install() -> None:
    """Register the check and the hooks."""
    import schemathesis

    schemathesis.check(every_response_is_described)
    for hook in (after_call, map_headers, map_path_parameters):
        schemathesis.hook(hook)


def map_headers(ctx: Any, headers: Any) -> Any:
    """Make most idempotency keys unique; send every fourth request with respond-async."""
    number = next(_numbers)
    if headers and number % 4:
        key = headers.get("Idempotency-Key")
        if isinstance(key, str) and key:
            headers["Idempotency-Key"] = f"{key[:-1]}{number}{key[-1]}"
    elif headers is not None:
        headers["Prefer"] = "respond-async"
    return headers


def map_path_parameters(ctx: Any, parameters: Any) -> Any:
    """Ask for existing replies in half of the requests to the reply resource."""
    if parameters and "correlation_id" in parameters and _issued and next(_numbers) % 2:
        parameters["correlation_id"] = _issued.pop()
    return parameters


def after_call(ctx: Any, case: Any, response: Any) -> None:
    """Append operation, status and kind of the response to the file."""
    _issued.extend(response.headers.get("x-correlation-id", []))
    with Path(os.environ[RESPONSES_FILE]).open("a", encoding="utf-8") as file:
        file.write(f"{case.method} {case.path} {response.status_code} {_kind(response)}\n")


def every_response_is_described(ctx: Any, response: Any, case: Any) -> None:
    """Assert that a response is a reply, a described problem, or a described success."""
    status, kind = str(response.status_code), _kind(response)
    described = case.operation.definition.raw["responses"]
    if kind.startswith("/problems/"):
        named = f"#/components/schemas/{kind.removeprefix('/problems/')}"
        assert named in str(described.get(status)), f"{kind} with {status} is not described"
        _assert_complete(response.json())
    elif kind == "about:blank":
        assert status in described or status in ("404", "405"), f"{status} is not described"
        _assert_complete(response.json())
    elif kind != "reply" and case.method != "OPTIONS":
        assert status in described, f"{status} is not described"
        assert int(status) < 500, f"{status} without a problem"


def _kind(response: Any) -> str:
    if PROBLEM in response.headers.get("content-type", [""])[0]:
        problem = response.json()
        if "retryable" in problem:
            return str(problem["type"])
    return "reply" if "x-correlation-id" in response.headers else "own"


def _assert_complete(problem: dict[str, Any]) -> None:
    assert {"type", "title", "status", "detail", "retryable"} <= set(problem)


if RESPONSES_FILE in os.environ:
    install()
