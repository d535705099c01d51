"""The problem types about the client of a request, and its limits."""

from collections.abc import Iterable

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
    """The request has no API key or token, or an invalid one."""

    kind = "unauthorized"
    title = "Unauthorized"
    status = 401
    meaning = (
        "The request needs a valid API key, or a token where the gateway accepts tokens, sent as "
        '"Authorization: Bearer <it>". Nothing was published.'
    )
    retry = "Send a valid one; the operator of this gateway issues API keys or names the issuer."

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


class InsufficientScope(Problem):
    """The client lacks a scope that the route requires."""

    kind = "insufficient-scope"
    title = "Insufficient Scope"
    status = 403
    meaning = (
        "The route requires scopes that your token, or the client of your API key, does not have; "
        "WWW-Authenticate lists them. Nothing was published."
    )
    retry = "Get a token with these scopes, or ask the operator of this gateway for them."

    def __init__(self, detail: str, scopes: Iterable[str], sent: Sent | None = None) -> None:
        super().__init__(detail, sent=sent)
        error = f'error="insufficient_scope", scope="{" ".join(scopes)}"'
        self.headers["WWW-Authenticate"] = f'Bearer realm="rendezvous", {error}'


class TokenKeysUnavailable(Problem):
    """The keys that verify tokens cannot be fetched."""

    kind = "token-keys-unavailable"
    title = "Token Keys Unavailable"
    status = 503
    retry_after_s = 1
    meaning = (
        "The gateway cannot verify your token, which may be valid, since the keys of its issuer "
        "cannot be fetched. Nothing was published."
    )
    retry = "Retrying after Retry-After with the same token is safe."


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
