"""
The gateway's only Kafka code: publishing requests, and asking the brokers how they are.

A publication fails in one of two ways. Refused: the broker will never have the record. Unknown: it
was offered, and nobody can say; kafka-python reports a send as failed although the broker may still
append it once it wakes up.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from gateway.exchange import linger as gathering
from gateway.exchange.latch import Latch
from rendezvous.contract import Request
from rendezvous.kafka_client.delivery_monitor import DeliveryMonitor
from rendezvous.kafka_client.patches import idempotent_producer
from rendezvous.kafka_client.patches.prompt_client import prompt_client
from rendezvous.kafka_client.patches.quick_producer import FastProducer

logger = logging.getLogger(__name__)

#: How often the producer's pulse is felt.
LOOK_PAUSE_S = 1.0
#: A producer tells the fate of each record within its delivery timeout; so many looks later it is
#: taken for dead.
SILENT_LOOKS = 3
#: Pause between two attempts to reach the brokers.
CONNECT_PAUSE_S = 1.0
BOOTSTRAP_TIMEOUT_MS = 5_000
#: A batch that failed is not offered again before this time is over. A refusal that comes sooner
#: is therefore an answer to the first offer, and nothing was appended before it.
RETRY_BACKOFF_MS = 100
#: How long records without a key of their own go to the same partition.
PARTITION_TURN_S = 0.02
#: Records of that many bytes are a request to the broker, however few they are.
BATCH_BYTES = 65_536
#: What a client is told; the addresses and causes are for /readyz and the log.
NOT_CONNECTED = "the Kafka brokers have not been reached; /readyz and the log say why"
#: A request record may exceed its body by this much: key, headers, framing.
RECORD_OVERHEAD_BYTES = 100_000

#: Refused, whenever it is said: no repetition of the record can have been appended.
_ALWAYS_REFUSED = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InvalidRecordError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.UnsupportedForMessageFormatError,
)
#: Refused, when it is the answer to the first offer.
_REFUSED_AT_FIRST = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.InvalidRequiredAcksError,
    kafka_errors.PolicyViolationError,
)
_NO_ID_FOR_IT = kafka_errors.ClusterAuthorizationFailedError.__name__
#: The code by which a broker answers who may not see a topic.
_DENIED = kafka_errors.TopicAuthorizationFailedError.errno


class PublishRefused(Exception):
    """Raised when a record is not in Kafka and never will be; the message says why."""


class PublishTooLarge(PublishRefused):
    """Raised when a record is larger than the producer or the broker takes."""


class Publication:
    """
    The fate of one published record.

    Attributes:
        acknowledged: the broker has confirmed it.
        trouble: why it was not confirmed, while it may still be appended.
    """

    __slots__ = ("_latch", "acknowledged", "trouble")

    def __init__(self) -> None:
        self.acknowledged = False
        self.trouble: str | None = None
        self._latch = Latch()

    def settle(self, *, acknowledged: bool = False, trouble: str | None = None) -> None:
        """Note how it ended and wake whoever waits for that; to be called once."""
        self.acknowledged, self.trouble = acknowledged, trouble
        self._latch.set()

    def wait(self, timeout_s: float) -> None:
        """Return when its fate is known, or *timeout_s* has passed."""
        self._latch.wait(timeout_s)


@dataclass(frozen=True, slots=True)
class Topic:
    """
    A topic as the brokers tell of it.

    Args:
        partitions: how many it has; None when there is none of that name.
        is_hidden: whether this gateway may not see it.
    """

    partitions: int | None = None
    is_hidden: bool = False


class Publisher(Protocol):
    """What the requester needs of a publisher."""

    def await_broker(self, timeout_s: float) -> None:
        """Return when a broker has been reached; PublishRefused when none is in *timeout_s*."""

    def publish(
        self, request: Request, timeout_s: float, on_refused: Callable[[PublishRefused], None]
    ) -> Publication:
        """Publish *request* without waiting for the acknowledgement."""


class RequestPublisher:
    """
    Publishes requests with one producer per process, built and rebuilt in the background.

    Args:
        connection: arguments that every kafka-python client takes.
        reply_timeout_s: how long a client waits; no send outlives it.
        max_body_bytes: the largest body that will be published.
        topics: what will be published to; looked up before the first request needs them.
        trouble: says why no broker can be reached, before a client is built in vain.
        linger_ms: says for how long records are gathered now, in milliseconds.
        new_producer, new_admin: how the clients are built.
    """

    def __init__(
        self,
        connection: dict[str, Any],
        reply_timeout_s: float,
        max_body_bytes: int,
        topics: Sequence[str] = (),
        trouble: Callable[[], str | None] = lambda: None,
        linger_ms: Callable[[], float] = lambda: 0.0,
        new_producer: Callable[..., Any] = FastProducer,
        new_admin: Callable[..., Any] = KafkaAdminClient,
    ) -> None:
        # Every default of the library exceeds an HTTP deadline: it would go on sending what
        # nobody waits for any more.
        timeout_ms = reply_timeout_s * 1000
        self._producer_options = connection | {
            "client_id": "rendezvous-gateway",
            "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
            "max_block_ms": round(min(timeout_ms / 3, 1_000)),
            "request_timeout_ms": round(timeout_ms * 0.6),
            "delivery_timeout_ms": round(timeout_ms * 0.9),
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            "reconnect_backoff_max_ms": 1_000,
            "max_request_size": max_body_bytes + RECORD_OVERHEAD_BYTES,
            "batch_size": BATCH_BYTES,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
            "kafka_client": prompt_client,
        }
        self._admin_options = connection | {
            "client_id": "rendezvous-gateway-probe",
            "bootstrap_timeout_ms": 1_000,
            "request_timeout_ms": 2_000,
            "reconnect_backoff_max_ms": 1_000,
        }
        self._topics = topics
        self._find_trouble = trouble
        self._linger_ms = linger_ms
        self._new_producer = new_producer
        self._new_admin = new_admin
        self._silent_limit = round(reply_timeout_s) + SILENT_LOOKS
        self._producer: Any = None
        self._pulse = DeliveryMonitor()
        self._admin: Any = None
        self._connected = threading.Event()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = "the brokers in KAFKA_URL have not been reached yet"

    def start(self) -> None:
        """Begin to connect; to be called in the process that publishes, after any fork."""
        self._producer = self._admin = None
        self._connected.clear()
        self._closing.clear()
        self._wanted.set()
        self._thread = threading.Thread(
            target=self._keep_connected, name="kafka-connector", daemon=True
        )
        self._thread.start()

    def await_broker(self, timeout_s: float) -> None:
        """
        Return when a producer is connected.

        Raises:
            PublishRefused: when none is within *timeout_s*.
        """
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
        self.await_broker(timeout_s)
        key, value, headers = request.encode()
        started_s = time.monotonic()
        producer, pulse = self._producer, self._pulse
        if producer is None:  # given up by another thread just now
            raise PublishRefused(NOT_CONNECTED)
        pulse.offered()  # before send(), which may be answered before it returns
        try:
            future = producer.send(
                request.topic,
                value=value,
                key=key,
                headers=headers,
                partition=_partition_now(producer, request.topic) if request.key is None else None,
            )
        except (kafka_errors.KafkaError, ValueError) as error:
            # Raised before the record was queued.
            pulse.heard()
            self._give_up_if_lost(producer, error)
            raise _refusal(request.topic, error) from error
        publication = Publication()

        def failed(error: Exception) -> None:
            pulse.heard()
            # A producer that is lost fails all that it holds with the error of somebody else.
            is_its_own = producer is self._producer
            self._give_up_if_lost(producer, error)
            first_offer = (time.monotonic() - started_s) * 1000 < RETRY_BACKOFF_MS
            if idempotent_producer.has_offered_nothing(producer) or (
                is_its_own
                and (
                    isinstance(error, _ALWAYS_REFUSED)
                    or (first_offer and isinstance(error, _REFUSED_AT_FIRST))
                )
            ):
                on_refused(_refusal(request.topic, error))
                publication.settle()
            else:
                publication.settle(trouble=f"the broker did not acknowledge it ({error})")
                logger.warning("%s: %s", request.correlation_id, publication.trouble)

        def acknowledged(_: object) -> None:
            pulse.heard()
            publication.settle(acknowledged=True)

        future.add_callback(acknowledged)
        future.add_errback(failed)
        return publication

    def check(self, topics: Sequence[str]) -> None:
        """
        Return when a broker answers and has every one of *topics*.

        Raises:
            ConnectionError: when no broker can be asked.
            PermissionError: naming the topics that this gateway may not see.
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
            raise ConnectionError(self._trouble)

    def look_up(self, topics: Sequence[str]) -> dict[str, Topic]:
        """
        Return what the brokers tell of each of *topics*.

        Raises:
            ConnectionError: when no broker can be asked.
        """
        try:
            if self._admin is None:
                trouble = self._find_trouble()
                if trouble is not None:
                    raise ConnectionError(trouble)
                self._admin = self._built_admin()
            described = self._admin.describe_topics(list(topics))
        except kafka_errors.KafkaError as error:
            self._close_admin()
            raise ConnectionError(str(error)) from error
        told = {topic["name"]: topic for topic in described}
        return {name: _topic(told.get(name)) for name in topics}

    def close(self) -> None:
        """Stop connecting and close the clients; every accepted record has had its time by now."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        self._close_admin()
        producer, self._producer = self._producer, None
        if producer is not None:
            _close_producer(producer)

    def _keep_connected(self) -> None:
        while not self._closing.is_set():
            self._wanted.wait(LOOK_PAUSE_S)
            self._wanted.clear()
            self._feel_pulse()
            while not self._connected.is_set() and not self._closing.wait(0):
                self._connect()

    def _feel_pulse(self) -> None:
        producer = self._producer
        if producer is not None and self._pulse.look() >= self._silent_limit:
            self._give_up(producer, f"no word of any record for {self._silent_limit} s")

    def _connect(self) -> None:
        trouble = self._find_trouble() or self._build()
        if trouble is not None:
            self._trouble = trouble
            self._closing.wait(CONNECT_PAUSE_S)

    def _build(self) -> str | None:
        """Build the producer; return why it cannot be built, or None."""
        try:
            producer = self._new_producer(**self._producer_options)
        except kafka_errors.KafkaError as error:
            return _no_broker(error)
        except Exception as error:
            # Without the connector no request would ever be published again.
            logger.exception("building the producer failed; trying again")
            return f"the producer cannot be built ({error}); the log has the cause"
        idempotent_producer.mend(producer, _ALWAYS_REFUSED + _REFUSED_AT_FIRST)
        gathering.gather(producer, self._linger_ms)
        for topic in self._topics:
            if self._closing.is_set():
                break  # each may take a second, and close() waits for two
            # Otherwise the first request of each topic would pay for this look-up.
            with contextlib.suppress(kafka_errors.KafkaError):
                producer.partitions_for(topic)
        self._pulse = DeliveryMonitor()
        self._producer = producer
        self._connected.set()
        return None

    def _give_up_if_lost(self, producer: Any, error: Exception) -> None:
        if idempotent_producer.is_lost(producer, error):
            self._give_up(producer, str(error))

    def _give_up(self, producer: Any, reason: str) -> None:
        # What a producer that was given up still fails must not cost its successor.
        if producer is not self._producer:
            return
        self._producer = None
        self._connected.clear()
        self._trouble = f"the producer is being rebuilt after {reason}"
        logger.error("the producer fails every send from now on (%s): rebuilding it", reason)
        # Not here: this runs on the producer's own thread, which close() waits for.
        threading.Thread(target=_close_producer, args=(producer,), daemon=True).start()
        self._wanted.set()

    def _built_admin(self) -> Any:
        try:
            return self._new_admin(**self._admin_options)
        except kafka_errors.KafkaError as error:
            raise ConnectionError(_no_broker(error)) from error

    def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()


def _topic(told: Mapping[str, Any] | None) -> Topic:
    code = None if told is None else told["error_code"]
    if told is None or code != 0:
        return Topic(is_hidden=code == _DENIED)
    return Topic(len(told.get("partitions") or ()))


def _partition_now(producer: Any, topic: str) -> int | None:
    """
    Return the partition that takes the records whose order does not matter, for a moment.

    Their keys are random: spread by key, they would fill as many batches as there are partitions,
    and each batch is a request. One partition at a time makes one batch of them.
    """
    partitions = sorted(producer.partitions_for(topic))
    turn = int(time.monotonic() / PARTITION_TURN_S) + os.getpid()
    return int(partitions[turn % len(partitions)])


def _no_broker(error: Exception) -> str:
    return (
        f"the brokers in KAFKA_URL do not answer ({error}); is it a TLS port (then use "
        "kafka+ssl://), or does it hang?"
    )


def _refusal(topic: str, error: Exception) -> PublishRefused:
    if isinstance(
        error, (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
    ):
        return PublishTooLarge(f"the record is too large for topic {topic!r} ({error})")
    # The library wraps the refusal of a producer's id in a plain KafkaError.
    if isinstance(error, kafka_errors.AuthorizationError) or _NO_ID_FOR_IT in str(error):
        return PublishRefused(
            f"Kafka denies it: grant Write on topic {topic!r} to this gateway ({error})"
        )
    if isinstance(
        error, (kafka_errors.KafkaTimeoutError, kafka_errors.UnknownTopicOrPartitionError)
    ):
        return PublishRefused(
            f"topic {topic!r} is not known to the brokers, or they do not answer: "
            f"create it or see to the brokers ({error})"
        )
    return PublishRefused(f"topic {topic!r} did not take it ({error})")


def _close_producer(producer: Any) -> None:
    try:
        producer.close(timeout=1)
    except kafka_errors.KafkaError as error:
        logger.warning("the producer was closed with records unsent (%s)", error)
        # kafka-python 3.0 has given up before it came to its thread and its connections.
        producer._sender.force_close()
