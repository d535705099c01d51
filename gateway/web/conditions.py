"""The conditions of GET and HEAD requests."""

from contextlib import suppress
from typing import Any

from flask import Response


def evaluate_conditions(response: Response, environ: dict[str, Any]) -> None:
    """
    Make *response* a 304 or a 412 if the conditions of the request in *environ* ask for it.

    A date that no clock can have is no condition (RFC 9110, section 13.1.3).
    """
    # Werkzeug raises it for a year or a time zone of more than 64 bits.
    with suppress(OverflowError):
        response.make_conditional(environ)
