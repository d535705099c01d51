"""Settings that do not fit each other: one line for each, naming what to set."""

import ssl
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from settings import Settings

#: Mechanisms by which a client proves its identity to a broker.
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM")


def conflicts(settings: "Settings") -> Iterator[str]:
    """Yield settings that lack another one, or contradict it."""
    pair = {
        "KAFKA_CLIENT_CERT": settings.kafka_client_cert,
        "KAFKA_CLIENT_CERT_KEY": settings.kafka_client_cert_key,
    }
    if any(pair.values()) and not all(pair.values()):
        missing = next(name for name, value in pair.items() if not value)
        yield f"{_names(pair, given=True)} set without {missing}; set both or neither"
    if settings.kafka_tls_hostnames == "ignore" and not settings.kafka_trusted_cert:
        yield (
            "KAFKA_TLS_HOSTNAMES=ignore: set KAFKA_TRUSTED_CERT too; the CAs of the system "
            "give certificates to everybody"
        )
    yield from _sasl_conflicts(settings)
    if settings.metrics_port == settings.port:
        yield f"METRICS_PORT and PORT are both {settings.port}; set METRICS_PORT to another port"
    if settings.api_keys_file and settings.api_keys:
        yield "API_KEYS_FILE and API_KEYS are both set; set one, or neither"
    if settings.responder_dlq_topic == settings.reply_topic:
        yield (
            f"RESPONDER_DLQ_TOPIC={settings.reply_topic} is REPLY_TOPIC: dead letters would be "
            "read as replies; choose another topic"
        )
    yield from _token_conflicts(settings)


def _sasl_conflicts(settings: "Settings") -> Iterator[str]:
    mechanism = settings.kafka_sasl_mechanism
    user: dict[str, object] = {
        "KAFKA_USERNAME": settings.kafka_username,
        "KAFKA_PASSWORD": settings.kafka_password,
    }
    oauth: dict[str, object] = {
        "KAFKA_OAUTH_TOKEN_URL": settings.kafka_oauth_token_url,
        "KAFKA_OAUTH_CLIENT_ID": settings.kafka_oauth_client_id,
        "KAFKA_OAUTH_CLIENT_SECRET": settings.kafka_oauth_client_secret,
    }
    optional: dict[str, object] = {
        "KAFKA_OAUTH_SCOPE": settings.kafka_oauth_scope,
        "KAFKA_OAUTH_EXTENSIONS": settings.kafka_oauth_extensions,
    }
    needed, foreign = (oauth, user) if mechanism == "OAUTHBEARER" else (user, oauth | optional)
    if mechanism == "AWS_MSK_IAM":
        yield from _msk_iam_conflicts(settings, user | oauth | optional)
    elif mechanism:
        if not all(needed.values()):
            yield f"KAFKA_SASL_MECHANISM={mechanism}: {_names(needed, given=False)} not set"
        if any(foreign.values()):
            yield (
                f"{_names(foreign, given=True)} set, but not for KAFKA_SASL_MECHANISM="
                f"{mechanism}; set {', '.join(needed)} instead"
            )
    elif given := {n: v for n, v in (user | oauth | optional).items() if v}:
        yield (
            f"{_names(given, given=True)} set without KAFKA_SASL_MECHANISM; set it to one of "
            f"{', '.join(SASL_MECHANISMS)}"
        )


def _msk_iam_conflicts(settings: "Settings", foreign: Mapping[str, object]) -> Iterator[str]:
    prefix = "KAFKA_SASL_MECHANISM=AWS_MSK_IAM"
    if any(foreign.values()):
        yield (
            f"{_names(foreign, given=True)} set, but not for {prefix}; the credentials are those "
            "of AWS, such as AWS_ACCESS_KEY_ID or the role of this machine"
        )
    if settings.kafka_url and not settings.kafka_uses_tls():
        yield f"{prefix} needs TLS; begin KAFKA_URL with kafka+ssl://"
    if find_spec("botocore") is None:
        yield f"{prefix} needs botocore; pip install -r requirements-msk-iam.txt"


def _token_conflicts(settings: "Settings") -> Iterator[str]:
    needed = {
        "JWT_ISSUER": settings.jwt_issuer,
        "JWT_AUDIENCE": settings.jwt_audience,
        "JWT_JWKS_URL": settings.jwt_jwks_url,
    }
    if any(needed.values()) and not all(needed.values()):
        yield (
            f"{_names(needed, given=True)} set, but {_names(needed, given=False)} not; "
            "set all three to accept tokens, or none"
        )


def tls_errors(settings: "Settings") -> list[str]:
    """Return what is wrong with the certificates, and with settings that need TLS."""
    if not settings.kafka_url or not settings.kafka_uses_tls():
        errors = []
        if settings.kafka_trusted_cert or settings.kafka_client_cert:
            errors = ["certificates are set, but KAFKA_URL is not kafka+ssl://"]
        if settings.kafka_tls_hostnames:
            errors += ["KAFKA_TLS_HOSTNAMES is set, but KAFKA_URL is not kafka+ssl://"]
        return errors
    try:
        settings.kafka_tls()
    except (ssl.SSLError, ValueError) as error:
        return [
            "KAFKA_TRUSTED_CERT, KAFKA_CLIENT_CERT or KAFKA_CLIENT_CERT_KEY cannot be read: "
            f"expected whole PEM texts, with their line breaks ({error})"
        ]
    except OSError as error:
        return [
            f"KAFKA_CLIENT_CERT cannot be written to a file for OpenSSL ({error.strerror}); "
            "set TMPDIR to a folder that can be written"
        ]
    return []


def _names(values: Mapping[str, object], *, given: bool) -> str:
    """Return the names of *given* or missing variables, and a verb for them."""
    names = [name for name, value in values.items() if bool(value) is given]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
