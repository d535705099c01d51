"""Security of connections to Kafka: the TLS context, and the SASL arguments of kafka-python."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

#: OpenSSL's error code for a certificate that is past its last day.
_EXPIRED = 10
#: Maximum number of turns of each end in a handshake; two are enough.
_MAX_FLIGHTS = 5


def tls_context(
    trusted_cert: str, client_cert: str, client_cert_key: str, *, check_host_names: bool
) -> ssl.SSLContext:
    """
    Return the TLS context of connections to brokers.

    Args:
        trusted_cert: PEM text of the certificate authority; empty for those of the system.
        client_cert: PEM text of the client's certificate; empty for none.
        client_cert_key: PEM text of its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_host_names
    if trusted_cert:
        context.load_verify_locations(cadata=trusted_cert)
    else:
        context.load_default_certs()
    if client_cert:
        load_pair(context, client_cert, client_cert_key)
    return context


def load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Let *context* present *cert*; both are PEM texts."""
    # OpenSSL reads a certificate of ours only from a file.
    with _readable_file(f"{cert}\n{key}\n") as path:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(path, password="")


def has_expired(cert: str, key: str) -> bool:
    """
    Return whether the certificate of ours is past its last day.

    Python tells no dates of a certificate, but its TLS tells in a handshake with itself.
    """
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust this certificate itself
    server.load_verify_locations(cadata=cert)
    for context in (server, client):
        load_pair(context, cert, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(_MAX_FLIGHTS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_code == _EXPIRED
            except ssl.SSLError:
                return False
    return False


def password_arguments(mechanism: str, username: str, password: str) -> dict[str, Any]:
    """Return the arguments of kafka-python's clients for a user with a password."""
    if mechanism.startswith("SCRAM"):
        # RFC 5802, section 5.1. kafka-python sends the name as it is.
        username = username.replace("=", "=3D").replace(",", "=2C")
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": username,
        "sasl_plain_password": password,
    }


def token_arguments(
    token_url: str,
    client_id: str,
    client_secret: str,
    scope: str,
    extensions: tuple[tuple[str, str], ...],
) -> dict[str, Any]:
    """Return the arguments of kafka-python's clients for a client of an OAuth server."""
    # Not at the top: this package imports the settings.
    from rendezvous.kafka_client.oauth_tokens import ClientCredentials, token_provider

    credentials = ClientCredentials(token_url, client_id, client_secret, scope, extensions)
    return {
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": token_provider(credentials),
    }


@contextmanager
def _readable_file(text: str) -> Iterator[str]:
    """
    Yield the path of a file with *text* that only this user can read.

    It is in memory where the system permits that, so that a read-only file system suffices.
    """
    with _memory_file() or tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if isinstance(file.name, int) else file.name


def _memory_file() -> IO[str] | None:
    """Return an empty file in memory; None where there are none, or where /proc is missing."""
    try:
        file = open(os.memfd_create("certificate"), "w", encoding="ascii")  # noqa: SIM115
    except (AttributeError, OSError):  # not Linux, or forbidden
        return None
    if os.access(f"/proc/self/fd/{file.fileno()}", os.R_OK):
        return file
    file.close()
    return None
