"""The conditions of GET and HEAD requests."""

from typing import Any

from flask import Response

IF_MODIFIED_SINCE = "HTTP_IF_MODIFIED_SINCE"
LAST_MODIFIED = "Last-Modified"


def evaluate_conditions(response: Response, environ: dict[str, Any]) -> None:
    """
    Make *response* a 304 or a 412 if the conditions of the request in *environ* ask for it.

    A date that no clock can have is no condition (RFC 9110, section 13.1.3).
    """
    try:
        response.make_conditional(environ)
    except OverflowError:  # a year or a time zone of more than 64 bits
        last_modified = response.headers.pop(LAST_MODIFIED, None)
        response.make_conditional({k: v for k, v in environ.items() if k != IF_MODIFIED_SINCE})
        if last_modified is not None:
            response.headers[LAST_MODIFIED] = last_modified
