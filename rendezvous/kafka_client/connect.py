"""
Why a dependency cannot be reached, in one line that names the setting.

kafka-python answers a refused port, a wrong certificate and a plaintext port alike with "Unable to
bootstrap". Here the same steps are taken by hand, one after the other, to see which of them fails.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

from settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: For all brokers together.
CONNECT_TIMEOUT_S = 3.0
RETRY_PAUSE_S = 2.0
#: When a port is open and a client still fails.
NOT_KAFKA = (
    "it listens but does not answer as a broker; is it a TLS port (then use kafka+ssl://), does it "
    "hang, or does it advertise an address that cannot be reached from here?"
)


def kafka_problem(settings: Settings) -> str | None:
    """
    Return why no broker in KAFKA_URL can be reached, and what to do; None when one can be.

    To be asked before a client is built: a TLS handshake that nobody answers hangs the constructor
    of kafka-python for ever.
    """
    tls = settings.kafka_tls() if settings.kafka_uses_tls() else None
    brokers = settings.kafka_brokers()
    reasons = []
    for broker in brokers:
        reason = _try(broker, tls, CONNECT_TIMEOUT_S / len(brokers))
        if reason is None:
            return None
        reasons.append(f"{broker}: {reason}")
    return f"KAFKA_URL={settings.kafka_url}: {'; '.join(reasons)}"


def wait_until(
    connect: Callable[[], T],
    settings: Settings,
    stop: threading.Event,
    beat: Callable[[], object],
) -> T | None:
    """
    Return what *connect* returns, trying again until it does; None when *stop* is set first.

    Each new reason is logged once. *connect* raises ConnectionError when Kafka cannot be reached
    and LookupError naming the topics that are missing; *beat* is called before each attempt.
    """
    said = ""
    while not stop.is_set():
        beat()
        reason = kafka_problem(settings)
        if reason is None:
            try:
                return connect()
            except ConnectionError as error:
                reason = f"KAFKA_URL={settings.kafka_url}: {NOT_KAFKA} ({error})"
            except LookupError as error:
                reason = (
                    f"topic missing: {error.args[0]}; create it, or correct REPLY_TOPIC, "
                    "KAFKA_PREFIX or the topics in responder/handlers.py; or, if it is there, "
                    "grant Describe and Read on it"
                )
        if reason != said:
            logger.warning("%s. Waiting for it", reason)
            said = reason
        stop.wait(RETRY_PAUSE_S)
    return None


def _try(broker: str, tls: ssl.SSLContext | None, timeout_s: float) -> str | None:
    host, _, port = broker.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as tcp:
            if tls is not None:
                with tls.wrap_socket(tcp, server_hostname=host):
                    pass
    except (socket.gaierror, UnicodeError):
        return "no such host; correct the name"
    except TimeoutError:
        return "no answer; see to the network and the address; is this a plaintext port (kafka://)?"
    except ConnectionRefusedError:
        return "connection refused; start the broker or correct the port"
    except ssl.SSLCertVerificationError as error:
        return _distrust(error)
    except ssl.SSLError as error:
        return (
            f"TLS failed ({error.reason}); is this a plaintext port, or KAFKA_CLIENT_CERT missing?"
        )
    except OSError as error:
        return f"{error.strerror or error}; see to the network or correct the address"
    return None


#: OpenSSL's codes for a certificate that names another host, or another address.
_OTHER_NAMES = (62, 64)


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAMES:
        return (
            f"its certificate is for another host ({error.verify_message}); correct the host, or "
            "give its CA in KAFKA_TRUSTED_CERT, which is then trusted under any name"
        )
    return f"its certificate is not trusted ({error.verify_message}); correct KAFKA_TRUSTED_CERT"
