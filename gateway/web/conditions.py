"""The conditions of GET and HEAD requests."""

from typing import Any

from flask import Response

_IF_NONE_MATCH = "HTTP_IF_NONE_MATCH"
_IF_MODIFIED_SINCE = "HTTP_IF_MODIFIED_SINCE"
_LAST_MODIFIED = "Last-Modified"


def evaluate_conditions(response: Response, environ: dict[str, Any]) -> None:
    """
    Make *response* a 304 or a 412 if the conditions of the request in *environ* ask for it.

    A date is no condition beside If-None-Match, nor if no clock can have it (RFC 9110, section
    13.1.3).
    """
    environ = dict(environ)
    if _IF_NONE_MATCH in environ:
        environ.pop(_IF_MODIFIED_SINCE, None)
    try:
        response.make_conditional(environ)
    except OverflowError:  # a year or a time zone of more than 64 bits
        environ.pop(_IF_MODIFIED_SINCE, None)
        last_modified = response.headers.pop(_LAST_MODIFIED, None)
        response.make_conditional(environ)
        if last_modified is not None:
            response.headers[_LAST_MODIFIED] = last_modified
