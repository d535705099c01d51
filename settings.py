"""
Every environment variable, with its unit and default.

Only entry points read this module. A wrong value is reported at start, all of them at once, each
with the variable, the value and what was expected.
"""

import os
import re
import ssl
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

#: Heroku's router gives up after 30 s; our own answer has to leave before.
MAX_REPLY_TIMEOUT_S = 28.0
#: Threads of each web worker that never wait for a reply, so that probes are always answered.
RESERVED_THREADS = 4
MIN_SECRET_KEY_LENGTH = 16
#: What has no default.
NEEDED = ("KAFKA_URL", "REDIS_URL", "SECRET_KEY")


class SettingsError(Exception):
    """Raised with one line for each wrong setting."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """The settings of all three processes. Times are in seconds unless the name says otherwise."""

    port: int
    web_concurrency: int
    threads: int
    kafka_url: str
    kafka_prefix: str
    kafka_trusted_cert: str
    kafka_client_cert: str
    kafka_client_cert_key: str
    kafka_fetch_max_wait_ms: int
    redis_url: str
    redis_tls_verify: bool
    secret_key: str
    reply_topic: str
    reply_timeout_s: float
    reply_timeout_status: int
    reply_retention_s: float
    idempotency_ttl_s: int
    replies_mode: str
    replies_group: str
    responder_group: str
    responder_threads: int
    responder_journal: str
    responder_journal_ttl_s: float
    max_body_bytes: int
    request_read_timeout_s: float
    drain_delay_s: float
    cors_origins: str
    routes_file: Path
    api_keys_file: str
    api_keys: str
    log_format: str

    @classmethod
    def from_env(
        cls, env: Mapping[str, str] = os.environ, needs: Collection[str] = NEEDED
    ) -> "Settings":
        """
        Return the settings that *env* holds; those in *needs* have no default and must be set.

        Raises:
            SettingsError: naming every wrong or missing setting.
        """
        read = _Reader(env, needs)
        settings = cls(
            port=read.integer("PORT", 8000, 1, 65535),
            web_concurrency=read.integer("WEB_CONCURRENCY", 2, 1, 1024),
            threads=read.integer("THREADS", 64, RESERVED_THREADS + 1, 10_000),
            kafka_url=read.text("KAFKA_URL", None, _kafka_url),
            kafka_prefix=read.text("KAFKA_PREFIX", "", _topic_characters),
            kafka_trusted_cert=read.text("KAFKA_TRUSTED_CERT", "", _pem, secret=True),
            kafka_client_cert=read.text("KAFKA_CLIENT_CERT", "", _pem, secret=True),
            kafka_client_cert_key=read.text("KAFKA_CLIENT_CERT_KEY", "", _pem, secret=True),
            kafka_fetch_max_wait_ms=read.integer("KAFKA_FETCH_MAX_WAIT_MS", 100, 1, 5_000),
            redis_url=read.text("REDIS_URL", None, _redis_url),
            redis_tls_verify=read.choice("REDIS_TLS_VERIFY", "yes", ("yes", "no"), str) == "yes",
            secret_key=read.text("SECRET_KEY", None, _secret_key, secret=True),
            reply_topic=read.text("REPLY_TOPIC", "replies", _topic),
            reply_timeout_s=read.number("REPLY_TIMEOUT_S", 3.0, 0.1, MAX_REPLY_TIMEOUT_S),
            reply_timeout_status=read.choice("REPLY_TIMEOUT_STATUS", 503, (503, 504), int),
            reply_retention_s=read.number("REPLY_RETENTION_S", 60.0, 0.0, 86_400.0),
            idempotency_ttl_s=read.integer("IDEMPOTENCY_TTL_S", 86_400, 60, 7 * 86_400),
            replies_mode=read.choice("REPLIES_MODE", "group", ("group", "broadcast"), str),
            replies_group=read.text("REPLIES_GROUP", "replies", _topic),
            responder_group=read.text("RESPONDER_GROUP", "responder", _topic),
            responder_threads=read.integer("RESPONDER_THREADS", 16, 1, 1_000),
            responder_journal=read.choice("RESPONDER_JOURNAL", "off", ("off", "redis"), str),
            responder_journal_ttl_s=read.number(
                "RESPONDER_JOURNAL_TTL_S", 3_600.0, 60.0, 30 * 86_400.0
            ),
            max_body_bytes=read.integer("MAX_BODY_BYTES", 900_000, 1, 1_000_000),
            request_read_timeout_s=read.number("REQUEST_READ_TIMEOUT_S", 30.0, 0.1, 3_600.0),
            drain_delay_s=read.number("DRAIN_DELAY_S", 0.0, 0.0, 300.0),
            cors_origins=read.text("CORS_ORIGINS", "", _cors_origins),
            routes_file=Path(read.text("ROUTES_FILE", "routes.toml")),
            api_keys_file=read.text("API_KEYS_FILE", ""),
            api_keys=read.text("API_KEYS", "", secret=True),
            log_format=read.choice("LOG_FORMAT", "text", ("text", "json"), str),
        )
        if bool(settings.kafka_client_cert) != bool(settings.kafka_client_cert_key):
            read.problems.append(
                "KAFKA_CLIENT_CERT and KAFKA_CLIENT_CERT_KEY go together: set both or neither"
            )
        if settings.api_keys_file and settings.api_keys:
            read.problems.append("API_KEYS_FILE and API_KEYS are both set: set one, or neither")
        if settings.responder_journal == "redis":
            read.require("REDIS_URL")
        if not read.problems:
            read.problems += settings._tls_problems()
        if read.problems:
            raise SettingsError(read.problems)
        return settings

    @property
    def max_in_flight(self) -> int:
        """How many requests one web worker may wait for at once."""
        return self.threads - RESERVED_THREADS

    def prefixed(self, name: str) -> str:
        """Return topic or group *name* as the cluster knows it."""
        return self.kafka_prefix + name

    def kafka_brokers(self) -> list[str]:
        """Return ``host:port`` of each broker in KAFKA_URL."""
        return [urlsplit(url).netloc for url in _broker_urls(self.kafka_url)]

    def kafka_uses_tls(self) -> bool:
        """Say whether the brokers are spoken to over TLS."""
        return _broker_urls(self.kafka_url)[0].startswith("kafka+ssl://")

    def kafka_connection(self) -> dict[str, Any]:
        """Return the connection arguments that every kafka-python client takes."""
        connection: dict[str, Any] = {"bootstrap_servers": self.kafka_brokers()}
        if self.kafka_uses_tls():
            connection |= {"security_protocol": "SSL", "ssl_context": self.kafka_tls()}
        return connection

    def kafka_tls(self) -> ssl.SSLContext:
        """Return the TLS context for the brokers, from the certificates in the environment."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.kafka_trusted_cert:
            # Brokers with a CA of their own (Heroku's) have no stable host names to check.
            context.check_hostname = False
            context.load_verify_locations(cadata=self.kafka_trusted_cert)
        else:
            context.load_default_certs()
        if self.kafka_client_cert:
            # OpenSSL reads a client certificate from a file only; this one is ours alone (0600).
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
                pem.write(f"{self.kafka_client_cert}\n{self.kafka_client_cert_key}\n")
                pem.flush()
                # Without a password OpenSSL would ask the terminal for that of an encrypted key.
                context.load_cert_chain(pem.name, password="")
        return context

    def _tls_problems(self) -> list[str]:
        if not self.kafka_url or not self.kafka_uses_tls():
            unused = self.kafka_trusted_cert or self.kafka_client_cert
            return ["certificates are set, but KAFKA_URL is not kafka+ssl://"] if unused else []
        try:
            self.kafka_tls()
        except (ssl.SSLError, ValueError) as error:
            return [
                "KAFKA_TRUSTED_CERT, KAFKA_CLIENT_CERT or KAFKA_CLIENT_CERT_KEY cannot be read: "
                f"expected whole PEM texts, with their line breaks ({error})"
            ]
        return []

    def allowed_origins(self) -> list[str]:
        """Return each origin in CORS_ORIGINS."""
        return _listed(self.cors_origins)

    def masked_redis_url(self) -> str:
        """Return REDIS_URL without its password."""
        return masked_url(self.redis_url)


#: Scheme and user of a URL that holds a password. Of anything else nobody knows where it begins.
_USER = re.compile(r"((?:rediss?|kafka(?:\+ssl)?|https?)://[^:/?#@]*):.*", re.DOTALL)


def masked_url(url: str) -> str:
    """Return *url*, or what should be one, with stars for any password, also one in the query."""
    before, at, host = url.rpartition("@")
    if "?" in before:
        return "***"  # even what looks like the host may be a part of the password
    host, question, _ = host.partition("?")
    shown = f"{host}?***" if question else host
    if not at:
        return shown
    user = _USER.fullmatch(before)
    return f"{user[1]}:***@{shown}" if user else f"***@{shown}"


class _Reader:
    """Reads one variable after the other and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str], needs: Collection[str]) -> None:
        self._env = env
        self._needs = needs
        self.problems: list[str] = []

    def require(self, name: str) -> None:
        """Note that variable *name*, which has no default, is missing, unless it is known."""
        if not self._env.get(name) and name not in self._needs:
            self._miss(name)

    def text(
        self,
        name: str,
        default: str | None,
        check: Callable[[str], str] = str,
        secret: bool = False,
    ) -> str:
        return self._read(name, default, check, "", secret)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        return self._read(name, default, _between(int, low, high, "a whole number"), default)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        return self._read(name, default, _between(float, low, high, "a number of seconds"), default)

    def choice(self, name: str, default: T, choices: tuple[T, ...], kind: Callable[[str], T]) -> T:
        def check(value: str) -> T:
            if value not in map(str, choices):
                raise ValueError("one of " + ", ".join(map(str, choices)))
            return kind(value)

        return self._read(name, default, check, default)

    def _read(
        self,
        name: str,
        default: T | None,
        check: Callable[[str], T],
        stand_in: T,
        secret: bool = False,
    ) -> T:
        value = self._env.get(name, "")
        if value == "":
            if default is not None:
                return default
            if name not in self._needs:
                return stand_in
            self._miss(name)
            return stand_in
        try:
            return check(value)
        except ValueError as expected:
            shown = "***" if secret else repr(masked_url(value)[:80])
            self.problems.append(f"{name}={shown} is wrong: expected {expected}")
            return stand_in

    def _miss(self, name: str) -> None:
        self.problems.append(f"{name} is not set: {_EXPECTED_WHEN_MISSING[name]}")


_EXPECTED_WHEN_MISSING = {
    "KAFKA_URL": "give the brokers, for example kafka://127.0.0.1:9092",
    "REDIS_URL": "give the Redis that all replicas share, for example redis://127.0.0.1:6379/0",
    "SECRET_KEY": "give the same random text to every gateway and replies process, "
    "for example from: python -c 'import secrets; print(secrets.token_hex(32))'",
}


def _between(kind: Callable[[str], T], low: float, high: float, noun: str) -> Callable[[str], T]:
    def check(value: str) -> T:
        try:
            number: Any = kind(value)
        except ValueError:
            number = None
        # Written so that "nan" fails too.
        if number is None or not low <= number <= high:
            raise ValueError(f"{noun} from {low:g} to {high:g}")
        return kind(value)

    return check


def _listed(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def _broker_urls(value: str) -> list[str]:
    return [url if "://" in url else f"kafka://{url}" for url in _listed(value)]


def _kafka_url(value: str) -> str:
    urls = _broker_urls(value)
    expected = "a comma list of kafka://host:port or kafka+ssl://host:port, all of one kind"
    if len({url.partition("://")[0] for url in urls}) != 1 or not all(map(_is_broker, urls)):
        raise ValueError(expected)
    return value


def _is_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        complete = parts.hostname and parts.port and not parts.path.strip("/")
    except ValueError:
        return False
    return parts.scheme in ("kafka", "kafka+ssl") and bool(complete) and "@" not in parts.netloc


def _cors_origins(value: str) -> str:
    if _listed(value) != ["*"] and not all(map(_is_origin, _listed(value))):
        raise ValueError("* alone, or a comma list of origins, for example https://app.example.org")
    return value


#: As browsers write it: they compare letter by letter, and leave out the usual port.
_ORIGIN = re.compile(
    r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?", re.ASCII
)


def _is_origin(value: str) -> bool:
    origin = _ORIGIN.fullmatch(value)
    return origin is not None and origin.groups() not in (("http", "80"), ("https", "443"))


def _redis_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
        usable = parts.scheme == "unix" or (parts.scheme in ("redis", "rediss") and parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("redis://host:port/db, rediss://host:port/db or unix:///path")
    return value


def _secret_key(value: str) -> str:
    if len(value) < MIN_SECRET_KEY_LENGTH:
        raise ValueError(f"at least {MIN_SECRET_KEY_LENGTH} random characters")
    return value


def _pem(value: str) -> str:
    if "-----BEGIN " not in value or not value.isascii():
        raise ValueError("a PEM text, in ASCII, that starts with -----BEGIN")
    return value


def _topic_characters(value: str) -> str:
    # The names that Kafka accepts for a topic: [a-zA-Z0-9._-], at most 249 of them.
    if len(value) > 200 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in value):
        raise ValueError("letters, digits, '.', '_' and '-', at most 200 of them")
    return value


def _topic(value: str) -> str:
    if value in (".", ".."):
        raise ValueError("a name other than '.' and '..'")
    return _topic_characters(value)
