"""Fixtures of the unit tests: a Redis in memory, the ids of one deployment, and no server."""

from collections.abc import Iterator

import pytest
from fakeredis import FakeRedis, FakeServer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.poller import Poller
from gateway.routing.table import Route
from rendezvous.correlation import CorrelationId, CorrelationIds, epoch_ms
from rendezvous.process.traces import tracing
from rendezvous.process.traces.open_telemetry import OpenTelemetryTracer
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.replies import ReplyStore
from tests.fakes import FakePublisher
from tests.unit import apps

NODE = "0a1b2c3d"
ECHO = (Route("/echo", "echo"),)


@pytest.fixture
def ids() -> CorrelationIds:
    return CorrelationIds(apps.SECRET_KEY)


@pytest.fixture
def redis_server() -> FakeServer:
    """The Redis behind the store; ``connected = False`` makes it unreachable."""
    return FakeServer()


@pytest.fixture
def redis(redis_server: FakeServer) -> Iterator[FakeRedis]:
    client = FakeRedis(server=redis_server)
    yield client
    client.close()


@pytest.fixture
def store(redis: FakeRedis) -> ReplyStore:
    return ReplyStore(redis, retention_s=60)


@pytest.fixture
def cancellations(redis: FakeRedis) -> Cancellations:
    return Cancellations(redis)


@pytest.fixture
def new_id(ids: CorrelationIds):
    """Issue an id, *due_in_ms* from now."""

    def issue(due_in_ms: int = 3_000, *, is_stream: bool = False) -> CorrelationId:
        return ids.read(ids.issue(NODE, epoch_ms() + due_in_ms, is_stream=is_stream))

    return issue


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> OpenTelemetryTracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetryTracer(provider)


@pytest.fixture
def traced(exporter: InMemorySpanExporter, tracer: OpenTelemetryTracer):
    """Let the code under test make spans; a function that returns those that have ended."""
    tracing.use(tracer)
    yield lambda: list(exporter.get_finished_spans())
    tracing.use(tracing.NoTracer())


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def poller(store: ReplyStore, mailbox: Mailbox) -> Iterator[Poller]:
    """The poller of the mailbox, which runs."""
    poller = Poller(store, mailbox)
    poller.start()
    yield poller
    poller.close()


@pytest.fixture
def publisher(store: ReplyStore, ids: CorrelationIds) -> FakePublisher:
    return FakePublisher(store, ids)


@pytest.fixture
def new_app(poller, publisher, redis):
    """Build the application of a gateway whose responder replies with the request body."""

    def build(routes=ECHO, **options):
        return apps.new_app(routes, poller, publisher, redis, **options)

    return build
