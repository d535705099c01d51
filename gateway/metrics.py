"""The metrics of the gateway, which count whether or not they are served."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

#: The route of requests to paths that the gateway does not have.
NO_ROUTE = "unmatched"
#: Methods of HTTP; any other one counts as _OTHER, since clients may send what they like.
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))
#: Upper bounds of the buckets of durations, in seconds.
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

HTTP_DURATION = Histogram(
    "http_server_request_duration_seconds",
    "Time from the receipt of a request until its response is written",
    ("http_route", "http_request_method", "http_response_status_code", "error_type"),
    buckets=SECONDS,
)
OUTCOMES = Counter(
    "rendezvous_outcomes_total",
    "Requests by outcome: reply, pending (202), accepted (202 of a route without replies) or the "
    "type of the problem",
    ("route", "outcome"),
)
SENT = Counter(
    "rendezvous_sent_total",
    "Requests to routes, by whether they are in Kafka: yes, no or unknown",
    ("topic", "sent"),
)
REPLAYS = Counter(
    "rendezvous_idempotent_replays_total",
    "Responses that are the reply to an earlier request with the same Idempotency-Key",
    ("route",),
)
RATE_LIMITED = Counter(
    "rendezvous_rate_limited_total",
    "Requests rejected because their client has reached its rate limit",
    ("client",),
)
REPLY_WAIT = Histogram(
    "rendezvous_reply_wait_seconds",
    "Time from before a request is published until its reply has arrived",
    ("topic",),
    buckets=SECONDS,
)
PUBLISH = Histogram(
    "rendezvous_publish_seconds",
    "Time from the sending of a request record until a broker has acknowledged it",
    ("topic",),
    buckets=SECONDS,
)
REPLIES = Counter(
    "rendezvous_replies_received_total",
    "Replies that ended a wait, by their way: straight (from Kafka) or redis",
    ("way",),
)
WORKERS = Gauge("rendezvous_workers", "Worker processes that serve", multiprocess_mode="livesum")
IN_FLIGHT = Gauge(
    "rendezvous_in_flight_requests",
    "Requests that hold a slot",
    multiprocess_mode="livesum",
)
IN_FLIGHT_LIMIT = Gauge(
    "rendezvous_in_flight_limit_requests",
    "Slots for requests (THREADS - 4 in each worker)",
    multiprocess_mode="livesum",
)
QUEUED = Gauge(
    "rendezvous_queued_requests",
    "Requests that wait for a slot",
    multiprocess_mode="livesum",
)
QUEUE_LIMIT = Gauge(
    "rendezvous_queue_limit_requests",
    "Requests that may wait for a slot (QUEUE_LENGTH in each worker)",
    multiprocess_mode="livesum",
)
CONNECTIONS = Gauge(
    "rendezvous_connections",
    "Open connections of clients",
    multiprocess_mode="livesum",
)
BREAKERS_OPEN = Gauge(
    "rendezvous_breakers_open",
    "Workers whose circuit breaker of the topic is open for every client",
    ("topic",),
    multiprocess_mode="livesum",
)
BREAKER_CLIENTS = Gauge(
    "rendezvous_breaker_open_clients",
    "Clients for which alone the circuit breaker of the topic is open, added up over the workers",
    ("topic",),
    multiprocess_mode="livesum",
)

CHECK_FAILS = Gauge(
    "rendezvous_check_fails",
    "1 while a check that /readyz needs finds a problem: kafka, reply topic, redis, jwt_jwks_url",
    ("check",),
    multiprocess_mode="livemax",
)
REPLY_PATH_READ = Gauge(
    "rendezvous_reply_path_read",
    "1 while replies processes read every partition of the reply topic, else 0",
    ("topic",),
    multiprocess_mode="livemin",
)
REPLY_PATH_LAG = Gauge(
    "rendezvous_reply_path_lag_seconds",
    "How late the replies processes read the reply topic, as they report in Redis",
    ("topic",),
    multiprocess_mode="livemax",
)
REPLY_PATH_CLOCK = Gauge(
    "rendezvous_reply_path_clock_ahead_seconds",
    "How far the clock of a replies process is ahead of this gateway's",
    ("topic",),
    multiprocess_mode="livemostrecent",
)

# Child metrics, which are looked up for each request.
outcomes_of = cache(OUTCOMES.labels)  # route, outcome
sent_of = cache(SENT.labels)  # topic, sent
reply_wait_of = cache(REPLY_WAIT.labels)  # topic
publish_of = cache(PUBLISH.labels)  # topic
replies_of = cache(REPLIES.labels)  # way
_http_duration_of = cache(HTTP_DURATION.labels)


def prepare_route(path: str, topic: str, problems: Iterable[str]) -> None:
    """Create the series of a route at 0: Prometheus misses increases from nothing."""
    for outcome in ("reply", "pending", "accepted", *problems):
        outcomes_of(path, outcome)
    for sent in ("yes", "no", "unknown"):
        sent_of(topic, sent)
    reply_wait_of(topic)
    publish_of(topic)


def observe_response(
    route: str | None, method: str | None, status: int, problem: str | None, duration_s: float
) -> None:
    """
    Count a response.

    Args:
        route: its path, as in routes.toml; None for none.
        method: None if the request could not be parsed.
        problem: the type of the problem; None for a response without one.
    """
    error = problem or (str(status) if status >= 500 else "")
    known = method if method in METHODS else "_OTHER"
    _http_duration_of(route or NO_ROUTE, known, status, error).observe(duration_s)
