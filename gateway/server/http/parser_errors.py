"""Errors of requests that the parser refuses, each with a sentence for the client."""

from waitress.utilities import (
    BadRequest,
    Error,
    RequestEntityTooLarge,
    RequestHeaderFieldsTooLarge,
)


class URITooLong(Error):  # type: ignore[misc]  # waitress ships no types
    """The request line is over its limit."""

    code = 414
    reason = "URI Too Long"


class ExpectationFailed(Error):  # type: ignore[misc]
    """Expect asks for something else than 100 Continue."""

    code = 417
    reason = "Expectation Failed"


class VersionNotSupported(Error):  # type: ignore[misc]
    """A version of HTTP other than 1.0 and 1.1."""

    code = 505
    reason = "HTTP Version Not Supported"


class Refused(Exception):
    """Carries the error of a request that is not served."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.body)
        self.error = error


def bad_request(detail: str) -> Refused:
    """Return a refusal with status 400."""
    return Refused(BadRequest(detail))


def invalid_bytes() -> Refused:
    """Return the refusal of bytes that no line of a request contains."""
    return bad_request(
        "the request has control characters or bare line ends; end each line with CRLF"
    )


def request_line_too_long(max_bytes: int) -> Refused:
    """Return the refusal of a request line over its limit."""
    detail = f"the request line exceeds {max_bytes} bytes; send a shorter target"
    return Refused(URITooLong(detail))


def head_too_large(max_bytes: int) -> Refused:
    """Return the refusal of a head over its limit."""
    detail = f"the head of the request exceeds {max_bytes} bytes; send less"
    return Refused(RequestHeaderFieldsTooLarge(detail))


def too_many_headers(max_headers: int) -> Refused:
    """Return the refusal of a head with too many lines."""
    detail = f"the request has more than {max_headers} headers; send fewer"
    return Refused(RequestHeaderFieldsTooLarge(detail))


def body_too_large(max_bytes: int) -> Refused:
    """Return the refusal of a body over its limit."""
    detail = f"the body exceeds the {max_bytes} bytes of MAX_BODY_BYTES; send less"
    return Refused(RequestEntityTooLarge(detail))
