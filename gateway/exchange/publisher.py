"""Publishes requests through one producer per process, and keeps that producer connected."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from gateway.exchange.waiting.latch import Latch
from gateway.metrics import publish_of
from rendezvous.contract import Request
from rendezvous.kafka_client.producer import PublishRefused, RequestProducer
from rendezvous.kafka_client.topics import Topic, TopicLookup
from rendezvous.process.log_fields import request_fields
from rendezvous.process.traces import tracing

logger = logging.getLogger(__name__)

#: Pause between two attempts to connect, in seconds.
CONNECT_PAUSE_S = 1.0
#: Detail for clients; addresses and causes are for /readyz and the log.
NOT_CONNECTED = "the Kafka brokers have not been reached; see /readyz or the log for the reason"


class Publication:
    """
    The outcome of one published record.

    Attributes:
        acknowledged: whether a broker has confirmed it.
        failure: why it was not confirmed, while it may still be appended.
    """

    __slots__ = ("_latch", "acknowledged", "failure")

    def __init__(self) -> None:
        self.acknowledged = False
        self.failure: str | None = None
        self._latch = Latch()

    def settle(self, *, acknowledged: bool = False, failure: str | None = None) -> None:
        """Set the outcome and wake the waiting threads. To be called once."""
        self.acknowledged, self.failure = acknowledged, failure
        self._latch.set()

    def wait(self, timeout_s: float) -> None:
        """Return when the outcome is known, or *timeout_s* has passed."""
        self._latch.wait(timeout_s)


class Publisher(Protocol):
    """What the requester needs of a publisher."""

    def await_broker(self, timeout_s: float) -> None:
        """Return when a producer is connected; PublishRefused if none is in *timeout_s*."""

    def publish(
        self, request: Request, timeout_s: float, on_refused: Callable[[PublishRefused], None]
    ) -> Publication:
        """Publish *request* without waiting for the acknowledgement."""


class RequestPublisher:
    """
    Publishes requests with one producer per process, rebuilt in the background.

    Args:
        connection: arguments that every kafka-python client takes.
        reply_timeout_s: how long a client waits; no record is sent after that.
        max_body_bytes: the largest body that will be published.
        topics: the topics that will be published to; their metadata is fetched on connecting.
        find_problem: returns why no broker can be reached; asked before a client is built.
        linger_ms: returns the current linger of the producer, in milliseconds.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        reply_timeout_s: float,
        max_body_bytes: int,
        topics: Sequence[str] = (),
        find_problem: Callable[[], str | None] = lambda: None,
        linger_ms: Callable[[], float] = lambda: 0.0,
        open_producer: Callable[..., RequestProducer] = RequestProducer.open,
        new_lookup: Callable[..., TopicLookup] = TopicLookup,
    ) -> None:
        self._open_producer = partial(
            open_producer, connection, reply_timeout_s, max_body_bytes, linger_ms
        )
        self._topics = topics
        self._find_problem = find_problem
        self._lookup = new_lookup(connection, find_problem)
        #: Guards _producer, which request threads and the producer's own thread replace.
        self._lock = threading.Lock()
        self._producer: RequestProducer | None = None
        #: Producers that were replaced, for the connector to close.
        self._lost: deque[RequestProducer] = deque()
        self._connected = threading.Event()
        self._reconnect = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem = "the brokers in KAFKA_URL have not been reached yet"

    def start(self) -> None:
        """Start connecting; call it in the process that publishes, after any fork."""
        self._producer = None
        self._connected.clear()
        self._closing.clear()
        self._reconnect.set()
        self._thread = threading.Thread(
            target=self._keep_connected, name="kafka-connector", daemon=True
        )
        self._thread.start()

    def await_broker(self, timeout_s: float) -> None:
        """Return when a producer is connected; PublishRefused if none is in *timeout_s*."""
        if not self._connected.wait(timeout_s):
            raise PublishRefused(NOT_CONNECTED)

    def publish(
        self, request: Request, timeout_s: float, on_refused: Callable[[PublishRefused], None]
    ) -> Publication:
        """
        Publish *request* without waiting for the acknowledgement.

        Waits up to *timeout_s* for the first connection. *on_refused* is called, from another
        thread, when the broker refuses the record later.

        Raises:
            PublishRefused: when it is certain at once that the record will not be in Kafka.
        """
        span = tracing.tracer.send(request.topic, request.correlation_id)
        try:
            return self._publish(request, timeout_s, on_refused, span)
        except BaseException as error:
            span.end(error)
            raise

    def _publish(
        self,
        request: Request,
        timeout_s: float,
        on_refused: Callable[[PublishRefused], None],
        span: tracing.Span,
    ) -> Publication:
        self.await_broker(timeout_s)
        producer = self._producer
        if producer is None:  # another thread has just found that it is unusable
            raise PublishRefused(NOT_CONNECTED)
        key, value, headers = request.encode()
        publication = Publication()
        acknowledgement = publish_of(request.topic)
        sent_s = time.monotonic()

        def end(error: Exception | None) -> None:
            span.end(error)
            if error is None:
                acknowledgement.observe(time.monotonic() - sent_s)
                publication.settle(acknowledged=True)
                return
            self._replace_if_lost(producer)
            if isinstance(error, PublishRefused):
                on_refused(error)
                publication.settle()
            else:
                publication.settle(failure=str(error))
                logger.warning("%s", error, extra=request_fields(request, span))

        is_ordered = request.key is not None
        try:
            sent = span.inject(headers)
            producer.send(request.topic, key, value, sent, end, is_ordered=is_ordered)
        except PublishRefused:
            self._replace_if_lost(producer)
            raise
        return publication

    def check(self, topics: Sequence[str]) -> None:
        """
        Return when a broker answers and has every one of *topics*.

        Raises:
            ConnectionError: when no broker answers.
            PermissionError: naming the topics that this gateway may not describe.
            LookupError: naming the topics that are missing.
        """
        found = self.look_up(topics)
        hidden = sorted(name for name, topic in found.items() if topic.is_hidden)
        if hidden:
            raise PermissionError(", ".join(hidden))
        missing = sorted(name for name, topic in found.items() if topic.partitions is None)
        if missing:
            raise LookupError(", ".join(missing))
        if not self._connected.is_set():
            raise ConnectionError(self._problem)

    def look_up(self, topics: Sequence[str]) -> dict[str, Topic]:
        """Return each of *topics* as described by the brokers; see TopicLookup."""
        return self._lookup.look_up(topics)

    def close(self) -> None:
        """Stop connecting and close the clients; records that are left fail."""
        self._closing.set()
        self._reconnect.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        self._lookup.close()
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    def _keep_connected(self) -> None:
        while not self._closing.is_set():
            self._reconnect.wait()
            self._reconnect.clear()
            while not self._connected.is_set() and not self._closing.is_set():
                problem = self._try_to_connect()
                if problem is not None:
                    self._problem = problem
                    self._closing.wait(CONNECT_PAUSE_S)
            self._close_lost()

    def _try_to_connect(self) -> str | None:
        """Build the producer; return why it cannot be built, or None."""
        try:
            problem = self._find_problem()
            if problem is None:
                self._connect()
        except ConnectionError as error:
            return str(error)
        except Exception as error:
            # Without this thread no request would ever be published again.
            logger.exception("building the producer failed; trying again")
            return f"the producer cannot be built ({error}); the log has the cause"
        return problem

    def _connect(self) -> None:
        """Build the producer; raise ConnectionError if no broker answers."""
        producer = self._open_producer()
        for topic in self._topics:
            if self._closing.is_set():
                break  # each takes up to a second, and close() waits for two
            producer.fetch_metadata(topic)
        with self._lock:
            if not self._closing.is_set():
                self._producer = producer
                self._connected.set()
                return
        producer.close()

    def _close_lost(self) -> None:
        while self._lost:
            try:
                self._lost.popleft().close()
            except Exception:
                logger.exception("closing a producer that was replaced failed")

    def _replace_if_lost(self, producer: RequestProducer) -> None:
        reason = producer.lost
        if reason is None:
            return
        with self._lock:
            if producer is not self._producer:
                return  # replaced already; its late failures do not concern the new one
            self._producer = None
            self._connected.clear()
        self._problem = f"the producer is being rebuilt after {reason}"
        logger.error("the producer fails every send from now on (%s); rebuilding it", reason)
        # Not closed on this thread, which may be the producer's own: close() waits for that one.
        self._lost.append(producer)
        self._reconnect.set()
