"""
Connects to Kafka; on failure reports the reason and the setting.

kafka-python reports a refused port, a wrong certificate and a plaintext port alike, as "Unable to
bootstrap". So the steps of a connection are tried here one by one, to find the one that fails.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rendezvous.kafka_client.handshake import NOT_KAFKA, handshake_problem
from settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Maximum time of kafka_problem() for all brokers together, in seconds.
CONNECT_TIMEOUT_S = 3.0
#: Pause between two attempts of connect_with_retries(), in seconds.
RETRY_PAUSE_S = 2.0

_MISSING_TOPIC = (
    "create it, or correct REPLY_TOPIC, KAFKA_PREFIX or the topics of your handlers; if it exists, "
    "grant Describe and Read on it"
)


def kafka_problem(settings: Settings) -> str | None:
    """
    Return why no broker in KAFKA_URL can be reached, with advice, or None.

    To be called before a client is built: a TLS handshake without an answer blocks the constructors
    of kafka-python forever.
    """
    arguments = settings.kafka_connection()
    brokers = settings.kafka_brokers()
    reasons = []
    for broker in brokers:
        reason = _connection_problem(broker, arguments, CONNECT_TIMEOUT_S / len(brokers))
        if reason is None:
            return None
        reasons.append(f"{broker}: {reason}")
    problem = f"KAFKA_URL={settings.kafka_url}: {'; '.join(reasons)}"
    if settings.kafka_client_cert_has_expired():
        # Brokers tell this as a closed connection, or not at all.
        return f"KAFKA_CLIENT_CERT has expired; renew it ({problem})"
    return problem


def connect_with_retries(
    connect: Callable[[], T],
    settings: Settings,
    stop: threading.Event,
    before_attempt: Callable[[], object],
) -> T | None:
    """
    Call *connect* until it succeeds; None when *stop* is set first.

    Returns its result. Each new problem is logged once.

    Args:
        connect: builds the clients; raises ConnectionError when Kafka cannot be reached, and
            LookupError naming the topics that are missing, and if it likes what to do.
        before_attempt: called before each attempt.
    """
    logged = ""
    while not stop.is_set():
        before_attempt()
        problem = kafka_problem(settings)
        if problem is None:
            try:
                return connect()
            except ConnectionError as error:
                problem = f"KAFKA_URL={settings.kafka_url}: {NOT_KAFKA} ({error})"
            except LookupError as error:
                topics, advice, *_ = (*error.args, _MISSING_TOPIC)
                problem = f"topic missing: {topics}; {advice}"
        if problem != logged:
            logger.warning("%s; trying again", problem)
            logged = problem
        stop.wait(RETRY_PAUSE_S)
    return None


def _connection_problem(broker: str, arguments: Mapping[str, Any], timeout_s: float) -> str | None:
    name, _, port = broker.rpartition(":")
    host, tls = name.strip("[]"), arguments.get("ssl_context")
    arguments = {**arguments, "host": host}  # AWS_MSK_IAM signs it
    try:
        with socket.create_connection((host, int(port)), timeout_s) as tcp:
            if tls is None:
                return handshake_problem(tcp, arguments)
            with tls.wrap_socket(tcp, server_hostname=host) as connection:
                return handshake_problem(connection, arguments)
    except (socket.gaierror, UnicodeError):
        return "no such host; correct the name"
    except ssl.SSLCertVerificationError as error:
        return _certificate_problem(error)
    except ssl.SSLError as error:
        return (
            f"TLS failed ({error.reason}); is this a plaintext port, or KAFKA_CLIENT_CERT missing?"
        )
    except OSError as error:
        return _network_problem(error, is_tls=tls is not None)


def _network_problem(error: OSError, *, is_tls: bool) -> str:
    if isinstance(error, TimeoutError):
        return "no answer; check the network and the address; is this a plaintext port (kafka://)?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; start the broker or correct the port"
    if is_tls and isinstance(error, ConnectionResetError):
        # The broker closed the connection while bytes of the handshake were still unread.
        return "it ends the TLS handshake; is this a plaintext port (kafka://)?"
    return f"{error.strerror or error}; check the network or correct the address"


#: OpenSSL's error codes for a certificate of another host name or address.
_HOST_MISMATCH = (62, 64)
#: Those for one that is not valid yet, or no more.
_OUT_OF_DATE = (9, 10)


def _certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _HOST_MISMATCH:
        return (
            f"its certificate is for another host ({error.verify_message}); correct the host, or "
            "set KAFKA_TLS_HOSTNAMES=ignore and KAFKA_TRUSTED_CERT to a CA of these brokers alone"
        )
    if error.verify_code in _OUT_OF_DATE:
        return (
            f"its certificate or that of its CA is out of date ({error.verify_message}); renew it "
            "at the broker, or correct the clock of this machine"
        )
    return f"its certificate is not trusted ({error.verify_message}); correct KAFKA_TRUSTED_CERT"
