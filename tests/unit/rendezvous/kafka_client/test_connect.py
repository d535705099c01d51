"""Why a broker cannot be reached, in one line that names the setting."""

import socket
import ssl
import threading
from contextlib import contextmanager

import pytest

from rendezvous.kafka_client import connect as preflight
from rendezvous.kafka_client.connect import kafka_problem, wait_until
from settings import Settings


def settings_for(url):
    return Settings.from_env({"KAFKA_URL": url}, needs=("KAFKA_URL",))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(preflight, "RETRY_PAUSE_S", 0.01)


@pytest.fixture
def refused_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it either
        yield taken.getsockname()[1]


@contextmanager
def listening(answer):
    """Yield a port at which each connection is given to *answer*, then closed."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.02)

        def serve():
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join(10)


def closes_when_spoken_to(connection):
    connection.recv(1_000)


def speaks_plainly(connection):
    connection.recv(1_000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def assert_one_line(trouble, url):
    assert trouble is not None
    assert trouble.startswith(f"KAFKA_URL={url}: ")
    assert "\n" not in trouble


def test_a_port_that_refuses_is_named(refused_port):
    url = f"kafka://127.0.0.1:{refused_port}"
    trouble = kafka_problem(settings_for(url))

    assert_one_line(trouble, url)
    assert "connection refused; start the broker or correct the port" in str(trouble)


def test_a_host_that_is_not_there_is_named():
    url = "kafka://there.is.no.such.host.invalid:9092"
    trouble = kafka_problem(settings_for(url))

    assert_one_line(trouble, url)
    assert "no such host; correct the name" in str(trouble)


@pytest.mark.parametrize("answer", [speaks_plainly, closes_when_spoken_to])
def test_a_plaintext_port_where_tls_is_asked_for_is_named(answer):
    with listening(answer) as port:
        url = f"kafka+ssl://127.0.0.1:{port}"
        trouble = kafka_problem(settings_for(url))

    assert_one_line(trouble, url)
    assert "plaintext port" in str(trouble)


def test_a_port_that_says_nothing_where_tls_is_asked_for_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(preflight, "CONNECT_TIMEOUT_S", 0.1)
    go_on = threading.Event()
    with listening(lambda connection: go_on.wait(10)) as port:
        trouble = kafka_problem(settings_for(f"kafka+ssl://127.0.0.1:{port}"))
        go_on.set()

    assert "no answer" in str(trouble)
    assert "plaintext port" in str(trouble)


def test_one_broker_that_can_be_reached_is_enough(refused_port):
    with listening(lambda connection: None) as port:
        settings = settings_for(f"127.0.0.1:{refused_port},127.0.0.1:{port}")

        assert kafka_problem(settings) is None


def test_every_broker_has_its_own_reason(refused_port):
    trouble = kafka_problem(settings_for(f"no.such.host.invalid:1,127.0.0.1:{refused_port}"))

    assert "no.such.host.invalid:1: no such host" in str(trouble)
    assert f"127.0.0.1:{refused_port}: connection refused" in str(trouble)


def test_a_host_name_that_cannot_be_is_named_too():
    assert "no such host" in str(kafka_problem(settings_for(f"kafka://{'a' * 64}.invalid:9092")))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (62, "its certificate is for another host (as it says); correct the host"),
        (64, "its certificate is for another host (as it says); correct the host"),
        (19, "its certificate is not trusted (as it says); correct KAFKA_TRUSTED_CERT"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_told_with_its_remedy(monkeypatch, code, said):
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "as it says"

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", refuse)
    with listening(lambda connection: None) as port:
        trouble = kafka_problem(settings_for(f"kafka+ssl://127.0.0.1:{port}"))

    assert said in str(trouble)


# Waiting


@pytest.fixture
def reachable(monkeypatch):
    monkeypatch.setattr(preflight, "kafka_problem", lambda settings: None)


SETTINGS = settings_for("kafka://b:1")


def test_what_connects_is_returned(reachable):
    assert wait_until(lambda: "a client", SETTINGS, threading.Event(), lambda: None) == "a client"


def test_a_missing_topic_is_waited_for_and_told_once(reachable, caplog):
    endings = [LookupError("orders")] * 3 + [ConnectionError("asleep")] + ["a client"]
    beats = []

    def connect():
        ending = endings.pop(0)
        if isinstance(ending, Exception):
            raise ending
        return ending

    found = wait_until(connect, SETTINGS, threading.Event(), lambda: beats.append(1))

    assert found == "a client"
    assert len(beats) == 5
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "topic missing: orders",
        "KAFKA_URL=kafka://b:1: it listens but does not answer as a broker",
    ]


def test_no_client_is_built_while_the_brokers_cannot_be_reached(monkeypatch, caplog):
    troubles = ["refused", "refused", None]
    built = []
    monkeypatch.setattr(preflight, "kafka_problem", lambda settings: troubles.pop(0))

    wait_until(lambda: built.append(len(troubles)), SETTINGS, threading.Event(), lambda: None)

    assert built == [0]
    assert caplog.messages == ["refused. Waiting for it"]


def test_being_told_to_stop_ends_the_wait(reachable):
    stop = threading.Event()

    def connect():
        stop.set()
        raise ConnectionError("asleep")

    assert wait_until(connect, SETTINGS, stop, lambda: None) is None
