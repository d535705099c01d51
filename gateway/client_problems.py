"""The problem types about the client of a request, and its limits."""

from gateway.problem_details import Problem, Sent


class TooManyInFlight(Problem):
    """The client has reached its share of the in-flight limit."""

    kind = "too-many-in-flight"
    title = "Too Many of Your Requests In Flight"
    status = 429
    retry_after_s = 1
    meaning = "Your requests in flight have reached your in-flight limit. Nothing was published."
    retry = "Retrying is safe as soon as one of them has been answered."


class RateLimited(Problem):
    """The client has reached its rate limit."""

    kind = "rate-limited"
    title = "Rate Limit Reached"
    status = 429
    meaning = (
        "You have reached your rate limit; RateLimit-Policy has it as requests (q) per seconds "
        "(w). Nothing was published."
    )
    retry = "Retrying after Retry-After is safe."


class Unauthorized(Problem):
    """The request has no API key, or an unknown one."""

    kind = "unauthorized"
    title = "Unauthorized"
    status = 401
    meaning = (
        'The request needs a valid API key, sent as "Authorization: Bearer <key>". '
        "Nothing was published."
    )
    retry = "Send the request with an API key; the operator of this gateway issues them."

    def __init__(self, detail: str, *, key_given: bool, sent: Sent | None = None) -> None:
        super().__init__(detail, sent=sent)
        # RFC 6750: a request without credentials gets no error code.
        error = ', error="invalid_token"' if key_given else ""
        self.headers["WWW-Authenticate"] = f'Bearer realm="rendezvous"{error}'


class Forbidden(Problem):
    """The client is not allowed to use the route."""

    kind = "forbidden"
    title = "Forbidden"
    status = 403
    meaning = "The API key is valid but does not allow this route. Nothing was published."
    retry = "Do not retry; ask the operator of this gateway to allow the route for your key."


class CallerUnknown(Problem):
    """The header that names the caller is missing or malformed."""

    kind = "caller-unknown"
    title = "Caller Unknown"
    status = 400
    meaning = (
        "The request lacks the header that names the caller, which the proxy in front of the "
        "gateway sets, or has a malformed one. Nothing was published."
    )
    retry = "Send the request through the proxy; its operator sets the header."
