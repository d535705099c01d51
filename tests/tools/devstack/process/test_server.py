"""Start, pause, kill and stop of every kind of server."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.brokers import require_apache
from tests.tools.devstack.support import LIMIT_S
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.ports import LOOPBACK, can_listen
from tools.devstack.process.server import Server, ServerNotStarted
from tools.devstack.process.supervisor import group_states
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["embedded broker", "embedded redis", "apache kafka"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "apache kafka":
        require_apache()
    kinds = {
        "embedded broker": EmbeddedBroker,
        "embedded redis": EmbeddedRedis,
        "apache kafka": ApacheKafka,
    }
    with kinds[request.param]() as server:
        yield server


def test_a_started_server_answers(server: Server):
    assert server.answers()
    assert server.returncode is None


def test_a_paused_server_accepts_connections_without_answering(server: Server):
    server.pause()

    try:
        socket.create_connection((LOOPBACK, server.port), 1.0).close()
        assert not server.answers(timeout_s=0.3)
    finally:
        server.resume()
    assert wait_until(server.answers, LIMIT_S)


def test_a_pause_takes_effect_immediately():
    with EmbeddedBroker() as broker:
        for _ in range(50):
            broker.pause()
            assert not broker.answers(timeout_s=0.01)
            broker.resume()
            assert wait_until(broker.answers, LIMIT_S)


def test_a_killed_server_restarts_on_the_same_port(server: Server):
    url, pid = server.url, server.pid

    server.kill()

    assert not server.answers()
    assert group_states(pid) == []
    server.restart()
    assert (server.url, server.answers()) == (url, True)
    assert server.pid != pid


def test_a_running_server_restarts_on_the_same_port(server: Server):
    url, pid = server.url, server.pid

    server.restart()

    assert (server.url, server.answers()) == (url, True)
    assert server.pid != pid


def test_a_stopped_server_leaves_no_process_no_folder_and_a_free_port():
    with EmbeddedRedis() as redis:
        pid, folder = redis.pid, redis.folder
        assert folder.is_dir()

    assert not redis.answers()
    assert group_states(pid) == []
    assert not folder.exists()
    assert can_listen(LOOPBACK, redis.port)


def test_a_paused_server_can_be_stopped():
    with EmbeddedBroker() as broker:
        broker.pause()
        started_s = time.monotonic()

    assert time.monotonic() - started_s < broker.stop_grace_s
    assert not broker.answers()


def test_a_failed_start_has_the_reason():
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        redis = EmbeddedRedis(port=taken.getsockname()[1])

        with pytest.raises(ServerNotStarted, match="Address already in use"), redis:
            pass
