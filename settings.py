"""
Settings from the environment: each variable with default and expected value.

Read by entry points, by the start of a process and by the connections to Kafka. All wrong values
are reported at once, one line each.
"""

import os
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import setting_parsers as parse
from kafka_security import has_expired, password_arguments, tls_context, token_arguments
from setting_conflicts import SASL_MECHANISMS, conflicts, tls_errors

T = TypeVar("T")

#: Upper limit of reply timeouts: Heroku's router gives up after 30 s.
MAX_REPLY_TIMEOUT_S = 28.0
#: Threads of each web worker that never wait for a reply, so that probes are always answered.
RESERVED_THREADS = 4
#: How producers may compress their records.
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
#: Variables without a default of a gateway, which can do without Redis.
REQUIRED = ("KAFKA_URL", "SECRET_KEY")
#: Without delays, and with a TCP keepalive after 30 s, as redis-py does. Linux waits for hours.
_KAFKA_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}.items()
        if hasattr(socket, name)
    ),
]


class SettingsError(Exception):
    """Raised with one line for each wrong setting."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def _variable(
    default: T, parser: Callable[[str], T], *, secret: bool = False, example: str = ""
) -> T:
    """Return the field of a variable; errors show *example*, never a *secret* value."""
    return field(
        default=default,
        repr=not secret,
        metadata={"parse": parser, "secret": secret, "example": example},
    )


@dataclass(frozen=True)
class Settings:
    """The settings of all processes; one field for each variable."""

    port: int = _variable(8000, parse.integer(1, 65535))
    web_concurrency: int = _variable(2, parse.integer(1, 1024))
    threads: int = _variable(64, parse.integer(RESERVED_THREADS + 1, 10_000))
    queue_length: int = _variable(256, parse.integer(0, 10_000))
    queue_share: float = _variable(0.25, parse.share(0.9))
    cpu_affinity: bool = _variable(True, parse.yes_or_no)
    kafka_url: str = _variable("", parse.kafka_url, example="kafka://127.0.0.1:9092")
    kafka_prefix: str = _variable("", parse.topic_characters)
    kafka_trusted_cert: str = _variable("", parse.pem, secret=True)
    kafka_client_cert: str = _variable("", parse.pem, secret=True)
    kafka_client_cert_key: str = _variable("", parse.pem, secret=True)
    kafka_tls_hostnames: str = _variable("", parse.choice("check", "ignore"))
    kafka_sasl_mechanism: str = _variable("", parse.choice(*SASL_MECHANISMS))
    kafka_username: str = _variable("", parse.utf8)
    kafka_password: str = _variable("", parse.utf8, secret=True)
    kafka_oauth_token_url: str = _variable("", parse.http_url)
    kafka_oauth_client_id: str = _variable("", parse.utf8)
    kafka_oauth_client_secret: str = _variable("", parse.utf8, secret=True)
    kafka_oauth_scope: str = _variable("", parse.utf8)
    kafka_oauth_extensions: tuple[tuple[str, str], ...] = _variable((), parse.oauth_extensions)
    kafka_compression: str = _variable("none", parse.choice(*COMPRESSIONS))
    kafka_fetch_max_wait_ms: int = _variable(500, parse.integer(1, 5_000))
    # Longer than any request to a broker takes.
    kafka_max_idle_s: float = _variable(180.0, parse.seconds(10, 3_600))
    redis_url: str = _variable(
        "", parse.redis_url, example="redis://127.0.0.1:6379/0, the same for all replicas"
    )
    redis_tls_verify: bool = _variable(True, parse.yes_or_no)
    redis_max_connections: int = _variable(0, parse.integer(1, 10_000))
    redis_max_idle_s: float = _variable(180.0, parse.seconds(5, 3_600))
    secret_key: str = _variable(
        "",
        parse.secret_key,
        secret=True,
        example="the same for every gateway and replies process, the output of "
        "python -c 'import secrets; print(secrets.token_hex(32))'",
    )
    secret_key_old: str = _variable("", parse.old_secret_key, secret=True)
    reply_topic: str = _variable("replies", parse.topic)
    reply_timeout_s: float = _variable(3.0, parse.seconds(0.1, MAX_REPLY_TIMEOUT_S))
    reply_timeout_status: int = _variable(503, parse.choice(503, 504))
    reply_delivery: str = _variable("direct", parse.choice("direct", "store"))
    reply_retention_s: float = _variable(60.0, parse.seconds(0, 86_400))
    idempotency_ttl_s: int = _variable(86_400, parse.integer(60, 7 * 86_400))
    idempotency_max_bytes: int = _variable(1_000_000_000, parse.integer(1, 10**15))
    idempotency_client_max_bytes: int = _variable(250_000_000, parse.integer(1, 10**15))
    replies_mode: str = _variable("group", parse.choice("group", "broadcast"))
    replies_group: str = _variable("replies", parse.topic)
    responder_group: str = _variable("responder", parse.topic)
    responder_handlers: tuple[str, ...] = _variable(("responder.handlers",), parse.module_names)
    responder_threads: int = _variable(16, parse.integer(1, 1_000))
    responder_max_attempts: int = _variable(3, parse.integer(1, 100))
    responder_dlq_topic: str = _variable("", parse.topic)
    responder_deadline_s: float = _variable(30.0, parse.seconds(0.1, 86_400))
    responder_reply_topics: tuple[str, ...] = _variable((), parse.topic_patterns)
    responder_journal: str = _variable("off", parse.choice("off", "redis"))
    responder_journal_ttl_s: float = _variable(3_600.0, parse.seconds(60, 30 * 86_400))
    max_body_bytes: int = _variable(900_000, parse.integer(1, 1_000_000))
    max_reply_bytes: int = _variable(900_000, parse.integer(1, 16_000_000))
    request_read_timeout_s: float = _variable(30.0, parse.seconds(0.1, 3_600))
    drain_delay_s: float = _variable(0.0, parse.seconds(0, 300))
    cors_origins: tuple[str, ...] = _variable((), parse.cors_origins)
    routes_file: Path = _variable(Path("routes.toml"), Path)  # noqa: RUF009  immutable
    api_keys_file: str = _variable("", str)
    api_keys: str = _variable("", str, secret=True)
    jwt_issuer: str = _variable("", parse.printable)
    jwt_audience: tuple[str, ...] = _variable((), parse.printable_list)
    jwt_jwks_url: str = _variable("", parse.http_url)
    jwt_jwks_refresh_s: float = _variable(300.0, parse.seconds(10, 86_400))
    jwt_algorithms: tuple[str, ...] = _variable(("RS256", "ES256"), parse.jwt_algorithms)
    jwt_client_claim: str = _variable("sub", parse.printable)
    jwt_leeway_s: float = _variable(10.0, parse.seconds(0, 300))
    jwt_rate: tuple[int, int] | None = _variable(None, parse.rate)
    jwt_in_flight_share: float = _variable(1.0, parse.share(1))
    metrics_port: int = _variable(0, parse.integer(1, 65535))
    live_page: bool = _variable(True, parse.yes_or_no)
    log_format: str = _variable("text", parse.choice("text", "json"))

    @classmethod
    def from_env(
        cls, env: Mapping[str, str] = os.environ, required: Collection[str] = REQUIRED
    ) -> "Settings":
        """
        Return the settings in *env*. An empty variable counts as not set.

        Args:
            required: variables that must be set.

        Raises:
            SettingsError: naming every wrong or missing setting.
        """
        if env.get("RESPONDER_JOURNAL") == "redis":
            required = {*required, "REDIS_URL"}
        errors: list[str] = []
        values = {}
        for variable in fields(cls):
            name, rule = variable.name.upper(), variable.metadata
            value = env.get(name, "")
            if value:
                try:
                    values[variable.name] = rule["parse"](value)
                except ValueError as expected:
                    printable = repr(parse.masked_url(value)[:80])[1:-1]
                    shown = "***" if rule["secret"] else printable
                    errors.append(f"{name}={shown}: expected {expected}")
            elif name in required:
                errors.append(f"{name} is not set; example: {rule['example']}")
        settings = cls(**values)
        errors += conflicts(settings)
        errors = errors or tls_errors(settings)
        if errors:
            raise SettingsError(errors)
        return settings

    @property
    def max_in_flight(self) -> int:
        """In-flight limit of one web worker."""
        return self.threads - RESERVED_THREADS

    def prefixed(self, name: str) -> str:
        """Return the topic or group *name* with KAFKA_PREFIX."""
        return self.kafka_prefix + name

    def kafka_brokers(self) -> list[str]:
        """Return ``host:port`` of each broker in KAFKA_URL."""
        return [urlsplit(url).netloc for url in parse.broker_urls(self.kafka_url)]

    def kafka_uses_tls(self) -> bool:
        """Return whether KAFKA_URL asks for TLS."""
        return parse.broker_urls(self.kafka_url)[0].startswith("kafka+ssl://")

    def kafka_checks_hostnames(self) -> bool:
        """Return whether a broker's certificate must be for the host that it is reached by."""
        # Brokers of Heroku, which gives a CA and a client certificate, have no stable host names.
        is_heroku = bool(self.kafka_trusted_cert and self.kafka_client_cert)
        return self.kafka_tls_hostnames == "check" or not (self.kafka_tls_hostnames or is_heroku)

    def kafka_connection(self) -> dict[str, Any]:
        """Return the connection arguments of every kafka-python client."""
        connection: dict[str, Any] = {
            "bootstrap_servers": self.kafka_brokers(),
            "connections_max_idle_ms": round(self.kafka_max_idle_s * 1000),
            "socket_options": _KAFKA_SOCKET_OPTIONS,
        }
        if self.kafka_uses_tls():
            connection |= {"security_protocol": "SSL", "ssl_context": self.kafka_tls()}
        if self.kafka_sasl_mechanism:
            protocol = "SASL_SSL" if self.kafka_uses_tls() else "SASL_PLAINTEXT"
            connection |= {"security_protocol": protocol} | self._sasl_arguments()
        return connection

    def kafka_compression_type(self) -> str | None:
        """Return how producers compress their records; None for not at all."""
        return None if self.kafka_compression == "none" else self.kafka_compression

    def _sasl_arguments(self) -> dict[str, Any]:
        if self.kafka_sasl_mechanism == "OAUTHBEARER":
            return token_arguments(
                self.kafka_oauth_token_url,
                self.kafka_oauth_client_id,
                self.kafka_oauth_client_secret,
                self.kafka_oauth_scope,
                self.kafka_oauth_extensions,
            )
        if self.kafka_sasl_mechanism == "AWS_MSK_IAM":
            return {"sasl_mechanism": self.kafka_sasl_mechanism}  # botocore finds the rest
        return password_arguments(
            self.kafka_sasl_mechanism, self.kafka_username, self.kafka_password
        )

    def kafka_tls(self) -> ssl.SSLContext:
        """Return the TLS context for the brokers, with the configured certificates."""
        return tls_context(
            self.kafka_trusted_cert,
            self.kafka_client_cert,
            self.kafka_client_cert_key,
            check_host_names=self.kafka_checks_hostnames(),
        )

    def kafka_client_cert_has_expired(self) -> bool:
        """Return whether KAFKA_CLIENT_CERT is given and past its last day."""
        pair = (self.kafka_client_cert, self.kafka_client_cert_key)
        return bool(self.kafka_client_cert) and has_expired(*pair)

    def masked_redis_url(self) -> str:
        """Return REDIS_URL without its password."""
        return parse.masked_url(self.redis_url)
