"""Checks that the body of a request is JSON, for routes with ``body = "json"``."""

import json
from typing import Any

from gateway.problems import HttpProblem, InvalidBody, Sent


def check_type(content_type: str | None, path: str) -> None:
    """
    Return if *content_type* is that of JSON, or missing.

    Raises:
        HttpProblem: 415, for any other type.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in ("", "application/json") or media_type.endswith("+json"):
        return
    raise _unsupported(
        f"the route {path} takes JSON, and the Content-Type is {media_type[:100]!r}; send "
        "application/json",
        {},
    )


def check_encoding(encoding: str | None, path: str) -> None:
    """
    Return if a body with this Content-Encoding can be validated.

    Raises:
        HttpProblem: 415, if it is compressed.
    """
    if (encoding or "").strip().lower() not in ("", "identity"):
        raise _unsupported(
            f"the route {path} validates bodies, which it cannot while they have a "
            "Content-Encoding; send the body without one",
            {"Accept-Encoding": "identity"},  # RFC 9110, section 12.5.3
        )


def check_json(body: bytes, path: str) -> None:
    """
    Return if *body* is JSON.

    Raises:
        InvalidBody: when it is not.
    """
    try:
        # As text in float: the value does not matter, and Python refuses very long integers.
        json.loads(body.decode("utf-8"), parse_int=float, parse_constant=_refuse)
    except RecursionError:
        fault = "nested too deeply"
    except ValueError as error:
        fault = f"not JSON: {error}"
    else:
        return
    raise InvalidBody(f"the route {path} takes JSON; see faults", [{"path": "", "fault": fault}])


def _unsupported(detail: str, headers: dict[str, str]) -> HttpProblem:
    return HttpProblem(415, "Unsupported Media Type", detail, headers, Sent.NO)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")
