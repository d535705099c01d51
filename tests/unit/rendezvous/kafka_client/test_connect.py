"""Why a broker cannot be reached, in one line that names the setting."""

import socket
import ssl
import struct
import threading
from contextlib import contextmanager

import pytest

from rendezvous.kafka_client import connect as preflight
from rendezvous.kafka_client.connect import connect_with_retries, kafka_problem
from rendezvous.kafka_client.handshake import NOT_KAFKA, handshake_problem
from settings import Settings
from tests.fakes import raising
from tests.support.certificates import EXPIRED, Authority, require_openssl
from tests.unit.rendezvous.kafka_client.conftest import FAILING_PROFILE


def settings_for(url, **env):
    return Settings.from_env({"KAFKA_URL": url, **env}, required=("KAFKA_URL",))


def user(mechanism):
    """Return the settings of a user."""
    return {
        "KAFKA_SASL_MECHANISM": mechanism,
        "KAFKA_USERNAME": "alice",
        "KAFKA_PASSWORD": "hunter2",
    }


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(preflight, "RETRY_PAUSE_S", 0.01)


@pytest.fixture
def refused_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: no other process gets it
        yield taken.getsockname()[1]


API_VERSIONS, METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 3, 17, 36
#: Answers of a broker by the key of the request, without the correlation id.
BROKER = {
    # No error; one API: metadata, of version 1.
    API_VERSIONS: struct.pack(">hi3h", 0, 1, METADATA, 1, 1),
    # No brokers, no controller, no topics.
    METADATA: struct.pack(">3i", 0, -1, 0),
    # No error; no mechanisms.
    SASL_HANDSHAKE: struct.pack(">hi", 0, 0),
    # No error, no message, no data.
    SASL_AUTHENTICATE: struct.pack(">hhi", 0, -1, 0),
}
UNSUPPORTED_MECHANISM = struct.pack(">hi", 33, 1) + b"\0\5PLAIN"
ILLEGAL_STATE = struct.pack(">hi", 34, 0)
REFUSED = struct.pack(">hh", 58, 8) + b"no alice" + struct.pack(">i", 0)


def answering(**changes):
    """Return an answer() of a broker with *changes*; it hangs up where an answer is None."""
    answers = BROKER | {globals()[name]: answer for name, answer in changes.items()}

    def answer(connection):
        while size := connection.recv(4):
            request = connection.recv(*struct.unpack(">i", size))
            found = answers[struct.unpack_from(">h", request)[0]]
            if found is None:
                return
            found = request[4:8] + found
            connection.sendall(struct.pack(">i", len(found)) + found)

    return answer


@contextmanager
def listening(answer):
    """Yield a port whose connections go to *answer*, and are then closed."""
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


def closes_after_a_request(connection):
    connection.recv(1_000)


def resets(connection):
    connection.recv(1)  # closed with bytes unread


def answers_in_plaintext(connection):
    connection.recv(1_000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def assert_one_line(problem, url):
    assert problem is not None
    assert problem.startswith(f"KAFKA_URL={url}: ")
    assert "\n" not in problem


def test_a_refused_connection_is_named(refused_port):
    url = f"kafka://127.0.0.1:{refused_port}"
    problem = kafka_problem(settings_for(url))

    assert_one_line(problem, url)
    assert "connection refused; start the broker or correct the port" in str(problem)


def test_an_unknown_host_is_named():
    url = "kafka://there.is.no.such.host.invalid:9092"
    problem = kafka_problem(settings_for(url))

    assert_one_line(problem, url)
    assert "no such host; correct the name" in str(problem)


@pytest.mark.parametrize("answer", [answers_in_plaintext, closes_after_a_request, resets])
def test_a_plaintext_port_instead_of_tls_is_named(answer):
    with listening(answer) as port:
        url = f"kafka+ssl://127.0.0.1:{port}"
        problem = kafka_problem(settings_for(url))

    assert_one_line(problem, url)
    assert "plaintext port" in str(problem)


def test_a_silent_port_instead_of_tls_is_named_after_the_timeout(monkeypatch):
    monkeypatch.setattr(preflight, "CONNECT_TIMEOUT_S", 0.1)
    finish = threading.Event()
    with listening(lambda connection: finish.wait(10)) as port:
        problem = kafka_problem(settings_for(f"kafka+ssl://127.0.0.1:{port}"))
        finish.set()

    assert "no answer" in str(problem)
    assert "plaintext port" in str(problem)


@pytest.mark.parametrize(
    ("answer", "mechanism", "problem"),
    [
        (answering(), "", None),
        (answering(), "PLAIN", None),
        (
            answering(METADATA=None),
            "",
            "it closes connections without SASL; set KAFKA_SASL_MECHANISM, or use a port without "
            "SASL",
        ),
        (
            answering(SASL_HANDSHAKE=UNSUPPORTED_MECHANISM),
            "SCRAM-SHA-256",
            "it does not enable SASL SCRAM-SHA-256, but PLAIN; correct KAFKA_SASL_MECHANISM",
        ),
        (
            answering(SASL_HANDSHAKE=ILLEGAL_STATE),
            "PLAIN",
            "it refuses SASL (IllegalSaslStateError); remove KAFKA_SASL_MECHANISM if this port is "
            "without SASL, or correct the port",
        ),
        (
            answering(SASL_AUTHENTICATE=REFUSED),
            "PLAIN",
            "it refuses KAFKA_USERNAME and KAFKA_PASSWORD (no alice); correct them",
        ),
        (
            answering(SASL_AUTHENTICATE=None),
            "PLAIN",
            "it closes the connection during SASL PLAIN; check KAFKA_USERNAME and KAFKA_PASSWORD",
        ),
        (answering(API_VERSIONS=None), "PLAIN", NOT_KAFKA),
        (answering(API_VERSIONS=None), "", NOT_KAFKA),
        (answers_in_plaintext, "", NOT_KAFKA),
    ],
)
def test_the_first_requests_tell_why_a_broker_refuses_us(answer, mechanism, problem):
    with listening(answer) as port:
        url = f"127.0.0.1:{port}"
        settings = settings_for(url, **(user(mechanism) if mechanism else {}))
        found = kafka_problem(settings)

    assert found == (problem and f"KAFKA_URL={url}: {url}: {problem}")
    assert "hunter2" not in str(found)


def test_a_broker_that_answers_late_is_left_to_the_client(monkeypatch):
    monkeypatch.setattr(preflight, "CONNECT_TIMEOUT_S", 0.1)
    finish = threading.Event()
    with listening(lambda connection: finish.wait(10)) as port:
        assert kafka_problem(settings_for(f"127.0.0.1:{port}", **user("PLAIN"))) is None
        finish.set()


def test_one_reachable_broker_is_enough(refused_port):
    with listening(answering()) as port:
        settings = settings_for(f"127.0.0.1:{refused_port},127.0.0.1:{port}")

        assert kafka_problem(settings) is None


def test_each_broker_has_its_own_reason(refused_port):
    problem = kafka_problem(settings_for(f"no.such.host.invalid:1,127.0.0.1:{refused_port}"))

    assert "no.such.host.invalid:1: no such host" in str(problem)
    assert f"127.0.0.1:{refused_port}: connection refused" in str(problem)


def test_an_invalid_host_name_is_named():
    assert "no such host" in str(kafka_problem(settings_for(f"kafka://{'a' * 64}.invalid:9092")))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (62, "its certificate is for another host (the reason); correct the host"),
        (64, "its certificate is for another host (the reason); correct the host"),
        (10, "its certificate or that of its CA is out of date (the reason); renew it"),
        (9, "its certificate or that of its CA is out of date (the reason); renew it"),
        (19, "its certificate is not trusted (the reason); correct KAFKA_TRUSTED_CERT"),
    ],
)
def test_a_rejected_certificate_is_named_with_its_remedy(monkeypatch, code, message):
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "the reason"

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", raising(error))
    with listening(lambda connection: None) as port:
        problem = kafka_problem(settings_for(f"kafka+ssl://127.0.0.1:{port}"))

    assert message in str(problem)


@pytest.mark.parametrize("days", ["2", EXPIRED])
def test_an_expired_certificate_of_ours_is_named(tmp_path, refused_port, days):
    require_openssl()
    authority = Authority.make(tmp_path, "authority")
    authority.issue("client", "DNS:client", days=days)
    settings = settings_for(
        f"kafka+ssl://127.0.0.1:{refused_port}",
        KAFKA_CLIENT_CERT=(tmp_path / "client.crt").read_text(),
        KAFKA_CLIENT_CERT_KEY=(tmp_path / "client.key").read_text(),
    )
    problem = str(kafka_problem(settings))

    assert problem.startswith("KAFKA_CLIENT_CERT has expired; renew it (") is (days == EXPIRED)
    assert "connection refused" in problem


@pytest.fixture
def reachable(monkeypatch):
    monkeypatch.setattr(preflight, "kafka_problem", lambda settings: None)


SETTINGS = settings_for("kafka://b:1")


def test_the_result_of_a_successful_attempt_is_returned(reachable):
    assert (
        connect_with_retries(lambda: "a client", SETTINGS, threading.Event(), lambda: None)
        == "a client"
    )


def test_each_new_problem_is_logged_once_until_an_attempt_succeeds(reachable, caplog):
    results = [LookupError("orders")] * 3 + [ConnectionError("asleep")] + ["a client"]
    attempts = []

    def connect():
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    found = connect_with_retries(connect, SETTINGS, threading.Event(), lambda: attempts.append(1))

    assert found == "a client"
    assert len(attempts) == 5
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "topic missing: orders",
        "KAFKA_URL=kafka://b:1: it listens but does not answer as a broker",
    ]


def test_no_client_is_built_while_no_broker_can_be_reached(monkeypatch, caplog):
    problems = ["refused", "refused", None]
    built = []
    monkeypatch.setattr(preflight, "kafka_problem", lambda settings: problems.pop(0))

    connect_with_retries(
        lambda: built.append(len(problems)), SETTINGS, threading.Event(), lambda: None
    )

    assert built == [0]
    assert caplog.messages == ["refused; trying again"]


def test_a_stop_ends_the_retries(reachable):
    stop = threading.Event()

    def connect():
        stop.set()
        raise ConnectionError("asleep")

    assert connect_with_retries(connect, SETTINGS, stop, lambda: None) is None


AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "AWS_DEFAULT_REGION": "eu-central-1",
}
NOTHING_FOUND = (
    "no AWS credentials or no region; set AWS_DEFAULT_REGION, and give this process a role or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)


@pytest.mark.parametrize(
    ("answer", "missing", "problem"),
    [
        (answering(SASL_AUTHENTICATE=struct.pack(">hhi", 0, -1, 2) + b"{}"), "", None),
        (
            answering(SASL_AUTHENTICATE=REFUSED),
            "",
            "it refuses the AWS credentials (no alice); allow kafka-cluster:Connect, and correct "
            "AWS_DEFAULT_REGION",
        ),
        (answering(), "AWS_DEFAULT_REGION", NOTHING_FOUND),
        (answering(), "AWS_ACCESS_KEY_ID", NOTHING_FOUND),
    ],
)
def test_msk_iam_signs_with_the_credentials_of_aws(
    monkeypatch, aws_config, answer, missing, problem
):
    for name, value in AWS.items():
        monkeypatch.setenv(name, "" if name == missing else value)

    assert msk_problem(answer) == problem


def test_a_service_of_aws_that_fails_is_named_in_one_line(aws_config):
    aws_config.write_text(FAILING_PROFILE)

    assert msk_problem(answering()) == (
        "AWS gives no credentials (Error when retrieving credentials from custom-process: STS is "
        "asleep); check the role of this process, and that AWS can be reached"
    )


def msk_problem(answer):
    arguments = {
        "sasl_mechanism": "AWS_MSK_IAM",
        "security_protocol": "SASL_SSL",
        "host": "b-1.example",
    }
    with listening(answer) as port, socket.create_connection(("127.0.0.1", port), 5) as connection:
        return handshake_problem(connection, arguments)
