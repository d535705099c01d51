"""Settings: defaults, and one error line for each wrong variable."""

import errno
import os
import random
import socket
import ssl
import subprocess
import sys
from base64 import b32encode, b64encode, urlsafe_b64encode
from pathlib import Path
from uuid import UUID

import pytest

from setting_parsers import masked_url
from settings import REQUIRED, Settings, SettingsError
from tests.support.certificates import Authority, require_openssl

ENOUGH = {
    "KAFKA_URL": "kafka://127.0.0.1:9092",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184",
}


def read(**env):
    return Settings.from_env(ENOUGH | env)


def errors(**env):
    with pytest.raises(SettingsError) as caught:
        read(**env)
    assert str(caught.value) == "\n".join(caught.value.errors)
    return caught.value.errors


def test_the_defaults_are_the_documented_ones():
    settings = read()

    assert (settings.port, settings.web_concurrency, settings.threads) == (8000, 2, 64)
    assert settings.reply_topic == settings.replies_group == "replies"
    assert settings.kafka_prefix == ""
    assert (settings.reply_timeout_s, settings.reply_timeout_status) == (3.0, 503)
    assert (settings.reply_retention_s, settings.replies_mode) == (60.0, "group")
    assert (settings.responder_threads, settings.max_body_bytes) == (16, 900_000)
    assert (settings.responder_journal, settings.responder_journal_ttl_s) == ("off", 3_600.0)
    assert (settings.responder_max_attempts, settings.responder_dlq_topic) == (3, "")
    assert settings.request_read_timeout_s == 30
    assert settings.idempotency_ttl_s == 86_400
    assert settings.drain_delay_s == 0
    assert settings.routes_file == Path("routes.toml")
    assert settings.log_format == "text"
    assert settings.cors_origins == ()
    assert settings.redis_tls_verify is True
    assert settings.kafka_brokers() == ["127.0.0.1:9092"]
    assert settings.kafka_connection()["bootstrap_servers"] == ["127.0.0.1:9092"]
    assert settings.kafka_max_idle_s == settings.redis_max_idle_s == 180


def test_every_kafka_client_closes_idle_connections_and_probes_silent_ones():
    connection = read(KAFKA_MAX_IDLE_S="200").kafka_connection()

    assert connection["connections_max_idle_ms"] == 200_000
    options = {(level, name): value for level, name, value in connection["socket_options"]}
    assert options[socket.IPPROTO_TCP, socket.TCP_NODELAY]
    assert options[socket.SOL_SOCKET, socket.SO_KEEPALIVE]
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux
        idle_s = options[socket.IPPROTO_TCP, socket.TCP_KEEPIDLE]
        interval_s = options[socket.IPPROTO_TCP, socket.TCP_KEEPINTVL]
        assert idle_s + interval_s * options[socket.IPPROTO_TCP, socket.TCP_KEEPCNT] <= 60


def test_four_threads_are_reserved_for_probes():
    assert read(THREADS="64").max_in_flight == 60
    assert read(THREADS="5").max_in_flight == 1


def test_an_empty_variable_counts_as_not_set():
    assert read(PORT="", REPLY_TIMEOUT_S="", KAFKA_PREFIX="") == read()


def test_all_missing_variables_are_reported_at_once():
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"SECRET_KEY": ""}, required=(*REQUIRED, "REDIS_URL"))

    assert [line.split(";")[0] for line in caught.value.errors] == [
        "KAFKA_URL is not set",
        "REDIS_URL is not set",
        "SECRET_KEY is not set",
    ]
    assert "kafka://127.0.0.1:9092" in caught.value.errors[0]


def test_a_process_requires_only_the_variables_it_needs():
    settings = Settings.from_env({"KAFKA_URL": "b:1"}, required=("KAFKA_URL",))

    assert settings.secret_key == settings.redis_url == ""


@pytest.mark.parametrize("url", ["", None])
def test_a_journal_in_redis_requires_redis_url(url):
    env = {"KAFKA_URL": "b:1", "RESPONDER_JOURNAL": "redis"} | (
        {} if url is None else {"REDIS_URL": url}
    )
    for required in (("KAFKA_URL",), ("KAFKA_URL", "REDIS_URL")):
        with pytest.raises(SettingsError) as caught:
            Settings.from_env(env, required=required)
        (line,) = caught.value.errors
        assert line.startswith("REDIS_URL is not set; example: redis://")
    assert Settings.from_env(env | {"REDIS_URL": "redis://h"}, required=("KAFKA_URL",)).redis_url
    assert not Settings.from_env({"KAFKA_URL": "b:1"}, required=("KAFKA_URL",)).redis_url


def test_all_wrong_values_are_reported_at_once():
    found = errors(PORT="http", REPLY_TIMEOUT_S="0", REPLIES_MODE="both", KAFKA_URL="")

    assert [line.partition("=")[0].split()[0] for line in found] == [
        "PORT",
        "KAFKA_URL",
        "REPLY_TIMEOUT_S",
        "REPLIES_MODE",
    ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "0", "a whole number from 1 to 65535"),
        ("PORT", "65536", "a whole number from 1 to 65535"),
        ("PORT", "80.5", "a whole number"),
        ("PORT", "1" * 5_000, "a whole number"),
        ("WEB_CONCURRENCY", "0", "a whole number from 1"),
        ("THREADS", "4", "a whole number from 5"),
        ("KAFKA_FETCH_MAX_WAIT_MS", "0", "a whole number from 1"),
        ("REPLY_TIMEOUT_S", "nan", "a number of seconds from 0.1 to 28"),
        ("REPLY_TIMEOUT_S", "inf", "a number of seconds from 0.1 to 28"),
        ("REPLY_TIMEOUT_S", "-1", "a number of seconds from 0.1 to 28"),
        ("REPLY_TIMEOUT_S", "30", "a number of seconds from 0.1 to 28"),
        ("REPLY_TIMEOUT_S", "3 s", "a number of seconds"),
        ("REPLY_RETENTION_S", "-0.1", "a number of seconds from 0"),
        ("REPLY_TIMEOUT_STATUS", "500", "one of 503, 504"),
        ("REPLIES_MODE", "GROUP", "one of group, broadcast"),
        ("REDIS_TLS_VERIFY", "false", "one of yes, no"),
        ("LOG_FORMAT", "xml", "one of text, json"),
        ("RESPONDER_THREADS", "0", "a whole number from 1"),
        ("MAX_BODY_BYTES", "1000001", "a whole number from 1"),
        ("REQUEST_READ_TIMEOUT_S", "0", "a number of seconds from 0.1"),
        ("DRAIN_DELAY_S", "-1", "a number of seconds from 0 to 300"),
        ("REPLY_TOPIC", "a b", "letters, digits"),
        ("REPLY_TOPIC", "ä", "letters, digits"),
        ("REPLY_TOPIC", "..", "other than"),
        ("REPLIES_GROUP", "a/b", "letters, digits"),
        ("RESPONDER_GROUP", "x" * 201, "at most 200"),
        ("RESPONDER_HANDLERS", "my-service", "a comma list of Python modules"),
        ("RESPONDER_HANDLERS", "a..b", "a comma list of Python modules"),
        ("RESPONDER_HANDLERS", ",", "a comma list of Python modules"),
        ("KAFKA_PREFIX", "team 1", "letters, digits"),
        ("KAFKA_URL", "127.0.0.1", "a comma list of kafka://host:port"),
        ("KAFKA_URL", "kafka://127.0.0.1", "a comma list"),
        ("KAFKA_URL", "kafka://:9092", "a comma list"),
        ("KAFKA_URL", "kafka://host:99999", "a comma list"),
        ("KAFKA_URL", "kafka://[::1:9092", "a comma list of kafka://host:port"),
        ("KAFKA_URL", "kafka://host:port", "a comma list"),
        ("KAFKA_URL", "http://host:9092", "a comma list"),
        ("KAFKA_URL", "kafka://a:1,kafka+ssl://b:2", "all of one kind"),
        ("KAFKA_URL", "kafka://a:1/topic", "a comma list"),
        ("KAFKA_URL", " , ", "a comma list"),
        ("REDIS_URL", "127.0.0.1:6379", "redis://host:port/db"),
        ("REDIS_URL", "http://127.0.0.1:6379", "redis://host:port/db"),
        ("REDIS_URL", "redis://", "redis://host:port/db"),
        ("REDIS_URL", "redis://host:port", "redis://host:port/db"),
        ("REDIS_URL", "redis://[::1", "redis://host:port/db"),
    ],
)
def test_an_error_names_variable_value_and_expected_value(name, value, expected):
    (line,) = errors(**{name: value})

    assert line.startswith(f"{name}={masked_url(value)[:80]}: expected ")
    assert expected in line
    assert len(line) < 400


@pytest.mark.parametrize(
    "name",
    [
        "SECRET_KEY", "SECRET_KEY_OLD", "KAFKA_TRUSTED_CERT", "KAFKA_CLIENT_CERT",
        "KAFKA_CLIENT_CERT_KEY",
    ],
)  # fmt: skip
def test_an_error_does_not_show_a_secret(name):
    found = errors(**{name: "hunter2"})

    assert found[0].startswith(f"{name}=***: expected ")
    assert "hunter2" not in "\n".join(found)


WEAK_KEYS = [
    "short",
    "a" * 64,
    "ab" * 32,
    "0123456789abcdef" * 2,
    "deadbeef" * 8,
    "0" * 63 + "1",
    "changeme" * 8,
    "change-me-change-me-change-me",
    "secret" * 20,
    "my_secret_key_for_production",
    "thisismysecretkeyforproduction",
    "PasswordPasswordPassword1234567890",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "correct horse battery staple and so on",
    "please-change-this-value-before-production-2026",
    "5d41402abc4b2a76b9719d911017c59",  # 31 hexadecimal digits
    "5d41402abc4b2a76b9719d911017c592"[:31] + "\udc80",
]


@pytest.mark.parametrize("key", WEAK_KEYS)
def test_a_weak_key_is_an_error_that_says_how_to_make_one(key):
    (line,) = errors(SECRET_KEY=key)

    assert line == (
        "SECRET_KEY=***: expected at least 128 random bits, no words and no repetition; "
        "make one with python -c 'import secrets; print(secrets.token_hex(32))'"
    )


RANDOM_KEYS = {
    "openssl rand -hex 16": lambda drawn: drawn(16).hex(),
    "openssl rand -hex 32": lambda drawn: drawn(32).hex(),
    "upper case": lambda drawn: drawn(16).hex().upper(),
    "openssl rand -base64 16": lambda drawn: b64encode(drawn(16)).decode(),
    "openssl rand -base64 32": lambda drawn: b64encode(drawn(32)).decode(),
    "secrets.token_urlsafe(16)": lambda drawn: urlsafe_b64encode(drawn(16)).rstrip(b"=").decode(),
    "base32": lambda drawn: b32encode(drawn(16)).decode(),
    "base32 in lower case": lambda drawn: b32encode(drawn(16)).decode().rstrip("=").lower(),
    "uuid": lambda drawn: str(UUID(bytes=drawn(16))),
    "after a word": lambda drawn: f"secret-{drawn(16).hex()}",
}


@pytest.mark.parametrize("kind", RANDOM_KEYS)
def test_no_random_key_of_128_bits_is_refused(kind):
    drawn = random.Random(kind).randbytes
    keys = [RANDOM_KEYS[kind](drawn) for _ in range(2_000)]

    assert [key for key in keys if read(SECRET_KEY=key).secret_key != key] == []


def test_a_key_that_is_being_replaced_may_be_weak_but_not_short():
    assert read(SECRET_KEY_OLD="a" * 16).secret_key_old == "a" * 16
    for value in ("a" * 15, "a" * 16 + "\udc80"):
        (line,) = errors(SECRET_KEY_OLD=value)
        assert line.startswith("SECRET_KEY_OLD=***: expected the SECRET_KEY that is being replaced")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://user:hunter2@host:1"),
        ("REDIS_URL", "redis://user:hunter2@host:port"),
        ("KAFKA_URL", "kafka://user:hunter2@host:1"),
        ("REDIS_URL", "user:hunter2@host:6379"),
        ("REDIS_URL", "redis//:hunter2@host:6379"),
        ("KAFKA_URL", "kafka://u:a@h:1,kafka://u:hunter2@h:2"),
        ("REDIS_URL", "user:://hunter2@host:6379"),
        ("REDIS_URL", "http://host/?password=hunter2"),
    ],
)
def test_an_error_does_not_show_the_password_of_a_url(name, value):
    (line,) = errors(**{name: value})

    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("redis://host/0", "redis://host/0"),
        ("redis://user:sec@ret@host/0", "redis://user:***@host/0"),
        ("redis://host/0?password=secret", "redis://host/0?***"),
        ("redis://host/0?password=a@secret", "***"),
        ("rediss://user:secret@host/0?ssl_cert_reqs=none", "rediss://user:***@host/0?***"),
        ("redis+cluster://user:secret@h:1,h:2", "redis+cluster://user:***@h:1,h:2"),
        (
            "redis+sentinel://user:secret@h/main?sentinel_password=secret",
            "redis+sentinel://user:***@h/main?***",
        ),
    ],
)
def test_a_url_is_masked(url, masked):
    assert masked_url(url) == masked
    assert read(REDIS_URL=url).masked_redis_url() == masked


@pytest.mark.parametrize("name", ["KAFKA_CLIENT_CERT", "KAFKA_CLIENT_CERT_KEY"])
def test_a_client_certificate_requires_its_key_and_the_key_the_certificate(name):
    (line,) = errors(**{name: "-----BEGIN ANYTHING-----"})
    (other,) = {"KAFKA_CLIENT_CERT", "KAFKA_CLIENT_CERT_KEY"} - {name}

    assert line == f"{name} is set without {other}; set both or neither"


@pytest.mark.parametrize(
    ("url", "brokers", "tls"),
    [
        ("kafka://a:1", ["a:1"], False),
        ("a:1,b:2", ["a:1", "b:2"], False),
        (" a:1 , kafka://b:2 ,", ["a:1", "b:2"], False),
        ("kafka+ssl://a:1,kafka+ssl://b:2", ["a:1", "b:2"], True),
        ("kafka://[::1]:9092", ["[::1]:9092"], False),
    ],
)
def test_kafka_url_is_a_comma_list_with_or_without_scheme(url, brokers, tls):
    settings = read(KAFKA_URL=url)

    assert (settings.kafka_brokers(), settings.kafka_uses_tls()) == (brokers, tls)


def test_tls_verifies_brokers_with_the_system_certificates_by_default():
    settings = read(KAFKA_URL="kafka+ssl://a:1")
    context = settings.kafka_tls()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert settings.kafka_connection()["security_protocol"] == "SSL"


@pytest.mark.parametrize(
    ("text", "expected"), [("x", "whole PEM texts"), ("é", "a PEM text, in A")]
)
def test_an_unreadable_certificate_is_an_error_that_names_its_variable(text, expected):
    certificate = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"
    (line,) = errors(KAFKA_URL="kafka+ssl://a:1", KAFKA_TRUSTED_CERT=certificate)

    assert "KAFKA_TRUSTED_CERT" in line
    assert f"expected {expected}" in line


#: An encrypted key and the certificate of another key: OpenSSL decrypts before it compares.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUeHw+e4WjC3ZkLO54t7JhogW7i10wCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjMyMjUwMjhaGA8yMDgxMDgyNjIyNTAyOFow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPCa2caIf3Gt
+2ZA5EVaR1AYgKz7qddIrS1vKsshvhh9f/u8xLXitvmru+Za3x0dDY7g4GA1B/B9
0HjRUyN4zTKjUzBRMB0GA1UdDgQWBBRRW15qiN6dTHmOdDAW2F+kotwpMDAfBgNV
HSMEGDAWgBRRW15qiN6dTHmOdDAW2F+kotwpMDAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIFeBqmUKWjcXosb8PFl3zu1c9ke1F+HLHpibbXpmJ5yA
AiEAhoI7FEySkeuVLwA6Y/157p/RA/jFseX+wtf4xYwJoQ8=
-----END CERTIFICATE-----
"""
ENCRYPTED_KEY = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAibtKSpRlBCPQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEAkeANfak3vh3bCJnQv54XwEgZB4
L3eWAcsNhqF1tPp4BkeFldChKvBebC0Gns9AKzdlqGTIQml66aBRGTjauGLgBSd5
lxjXWh2TChPcq3BNv6hW5bg+BVeetmglB3ijLB/7SgPbpRLS4Cl/7252YtFAKM9x
wNX4a8IoTgQ/M3kRCffsVllOmIA1nZ8WN5lMc4uyLsqgwIAN5GZsKpHLGV/rddU=
-----END ENCRYPTED PRIVATE KEY-----
"""


def test_an_encrypted_key_is_an_error_and_prompts_for_no_password():
    env = ENOUGH | {
        "KAFKA_URL": "kafka+ssl://a:1",
        "KAFKA_CLIENT_CERT": CERTIFICATE,
        "KAFKA_CLIENT_CERT_KEY": ENCRYPTED_KEY,
    }
    # A new session has no terminal; OpenSSL would read a password from standard input.
    with subprocess.Popen(
        [sys.executable, "-c", "from settings import Settings; Settings.from_env()"],
        env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as start:  # fmt: skip
        try:
            assert start.wait(30) == 1
        finally:
            start.kill()
        assert start.stderr is not None
        assert "expected whole PEM texts" in start.stderr.read()


def forbidden(*_args, **_options):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("on_disk", [True, False])
def test_a_client_certificate_needs_a_file_in_memory_or_on_a_disk(monkeypatch, in_memory, on_disk):
    if not in_memory:
        monkeypatch.setattr("os.memfd_create", forbidden, raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    if not on_disk:
        monkeypatch.setattr("tempfile.NamedTemporaryFile", forbidden)
    pair = {"KAFKA_CLIENT_CERT": CERTIFICATE, "KAFKA_CLIENT_CERT_KEY": ENCRYPTED_KEY}
    (line,) = errors(KAFKA_URL="kafka+ssl://a:1", **pair)

    if in_memory or on_disk:
        assert "expected whole PEM texts" in line  # OpenSSL has read them
    else:
        assert line == (
            "KAFKA_CLIENT_CERT cannot be written to a file for OpenSSL (Read-only file system); "
            "set TMPDIR to a folder that can be written"
        )


def test_without_proc_a_client_certificate_is_written_to_a_temporary_file(monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    pair = {"KAFKA_CLIENT_CERT": CERTIFICATE, "KAFKA_CLIENT_CERT_KEY": ENCRYPTED_KEY}

    assert "expected whole PEM texts" in errors(KAFKA_URL="kafka+ssl://a:1", **pair)[0]


@pytest.mark.parametrize(
    ("setting", "given", "checked"),
    [
        ("", (), True),
        ("", ("KAFKA_TRUSTED_CERT",), True),
        ("", ("KAFKA_CLIENT_CERT", "KAFKA_CLIENT_CERT_KEY"), True),
        ("", ("KAFKA_TRUSTED_CERT", "KAFKA_CLIENT_CERT", "KAFKA_CLIENT_CERT_KEY"), False),
        ("check", ("KAFKA_TRUSTED_CERT", "KAFKA_CLIENT_CERT", "KAFKA_CLIENT_CERT_KEY"), True),
        ("ignore", ("KAFKA_TRUSTED_CERT",), False),
    ],
)
def test_host_names_are_checked_unless_ca_and_client_certificate_are_given(
    tmp_path, setting, given, checked
):
    require_openssl()
    authority = Authority.make(tmp_path, "authority")
    authority.issue("client", "DNS:client")
    texts = {
        "KAFKA_TRUSTED_CERT": authority.pem,
        "KAFKA_CLIENT_CERT": (tmp_path / "client.crt").read_text(),
        "KAFKA_CLIENT_CERT_KEY": (tmp_path / "client.key").read_text(),
    }
    env = {name: texts[name] for name in given} | {"KAFKA_TLS_HOSTNAMES": setting}
    context = read(KAFKA_URL="kafka+ssl://a:1", **env).kafka_tls()

    assert context.check_hostname is checked
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("env", "line"),
    [
        (
            {"KAFKA_URL": "kafka+ssl://a:1", "KAFKA_TLS_HOSTNAMES": "ignore"},
            "KAFKA_TLS_HOSTNAMES=ignore: set KAFKA_TRUSTED_CERT too; the CAs of the system give "
            "certificates to everybody",
        ),
        (
            {"KAFKA_TLS_HOSTNAMES": "check"},
            "KAFKA_TLS_HOSTNAMES is set, but KAFKA_URL is not kafka+ssl://",
        ),
        (
            {"KAFKA_TLS_HOSTNAMES": "no"},
            "KAFKA_TLS_HOSTNAMES=no: expected one of check, ignore",
        ),
    ],
)
def test_a_wrong_choice_about_host_names_is_named(env, line):
    assert errors(**env) == [line]


USER = {"KAFKA_USERNAME": "alice", "KAFKA_PASSWORD": "hunter2"}
OAUTH = {
    "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA_OAUTH_TOKEN_URL": "https://login.example.org/token",
    "KAFKA_OAUTH_CLIENT_ID": "gateway",
    "KAFKA_OAUTH_CLIENT_SECRET": "hunter2",
}
PLAIN = USER | {"KAFKA_SASL_MECHANISM": "PLAIN"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize(
    ("scheme", "protocol"), [("kafka", "SASL_PLAINTEXT"), ("kafka+ssl", "SASL_SSL")]
)
def test_a_user_and_a_mechanism_become_arguments_of_every_client(mechanism, scheme, protocol):
    env = USER | {"KAFKA_SASL_MECHANISM": mechanism, "KAFKA_URL": f"{scheme}://a:1"}
    connection = read(**env).kafka_connection()

    assert connection["security_protocol"] == protocol
    assert connection["sasl_mechanism"] == mechanism
    assert connection["sasl_plain_username"] == "alice"
    assert connection["sasl_plain_password"] == "hunter2"
    assert ("ssl_context" in connection) is (protocol == "SASL_SSL")


@pytest.mark.parametrize(
    ("mechanism", "sent"), [("PLAIN", "a=b,c"), ("SCRAM-SHA-256", "a=3Db=2Cc")]
)
def test_names_are_escaped_for_scram(mechanism, sent):
    env = PLAIN | {"KAFKA_SASL_MECHANISM": mechanism, "KAFKA_USERNAME": "a=b,c"}

    assert read(**env).kafka_connection()["sasl_plain_username"] == sent


@pytest.mark.parametrize(
    ("env", "line"),
    [
        (
            USER,
            "KAFKA_USERNAME and KAFKA_PASSWORD are set without KAFKA_SASL_MECHANISM; set it to one "
            "of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM",
        ),
        (
            {"KAFKA_PASSWORD": "hunter2"},
            "KAFKA_PASSWORD is set without KAFKA_SASL_MECHANISM; set it to one of PLAIN, "
            "SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM",
        ),
        (
            {"KAFKA_SASL_MECHANISM": "PLAIN"},
            "KAFKA_SASL_MECHANISM=PLAIN: KAFKA_USERNAME and KAFKA_PASSWORD are not set",
        ),
        (
            {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_USERNAME": "alice"},
            "KAFKA_SASL_MECHANISM=PLAIN: KAFKA_PASSWORD is not set",
        ),
        (
            PLAIN | {"KAFKA_SASL_MECHANISM": "plain"},
            "KAFKA_SASL_MECHANISM=plain: expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, "
            "OAUTHBEARER, AWS_MSK_IAM",
        ),
        (
            {"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM", "KAFKA_USERNAME": "alice"},
            "KAFKA_USERNAME is set, but not for KAFKA_SASL_MECHANISM=AWS_MSK_IAM; the credentials "
            "are those of AWS, such as AWS_ACCESS_KEY_ID or the role of this machine",
        ),
        (
            {"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM", "KAFKA_URL": "kafka://b:1"},
            "KAFKA_SASL_MECHANISM=AWS_MSK_IAM needs TLS; begin KAFKA_URL with kafka+ssl://",
        ),
        (
            PLAIN | {"KAFKA_PASSWORD": "hunter2\udcff"},
            "KAFKA_PASSWORD=***: expected a text in UTF-8",
        ),
    ],
)
def test_settings_of_sasl_that_do_not_fit_are_named(env, line):
    assert errors(**env)[0] == line


def test_all_clients_of_a_process_share_one_token_provider():
    env = OAUTH | {"KAFKA_OAUTH_EXTENSIONS": "logicalCluster=lkc-1, identityPoolId=pool-1"}
    one, other = (read(**env).kafka_connection() for _ in range(2))

    assert one["sasl_mechanism"] == "OAUTHBEARER"
    assert one["sasl_oauth_token_provider"] is other["sasl_oauth_token_provider"]
    assert one["sasl_oauth_token_provider"].extensions() == {
        "logicalCluster": "lkc-1",
        "identityPoolId": "pool-1",
    }
    assert "hunter2" not in repr(one)


@pytest.mark.parametrize("env", [PLAIN, OAUTH])
def test_no_text_of_the_settings_shows_a_secret(env):
    settings = read(**env)

    assert "hunter2" not in f"{settings!r} {settings}"
    assert settings.secret_key not in repr(settings)


def test_certificates_without_tls_are_an_error():
    (line,) = errors(KAFKA_TRUSTED_CERT="-----BEGIN CERTIFICATE-----")

    assert "KAFKA_URL is not kafka+ssl://" in line


def test_the_prefix_is_prepended_to_topics_and_groups():
    assert read(KAFKA_PREFIX="team-1.").prefixed("orders") == "team-1.orders"


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "rediss://h:1/2",
        "unix:///run/redis.sock",
        "redis+cluster://h",
        "rediss+cluster://user:secret@h:1,[::1]:2/0?ssl_ca_certs=/etc/ca.pem",
        "redis+cluster://h:1?ssl_ca_certs=/etc/ca.pem",
        "redis+sentinel://h,h2:26379/main",
        "rediss+sentinel://:secret@h:1,h:2/main/3?sentinel_password=other",
    ],
)
def test_redis_url_is_of_one_server_or_several(url):
    assert read(REDIS_URL=url).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://h:1,",
        "redis+cluster://h:port",
        "redis+cluster://h:1/1",
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/",
        "redis+sentinel://h:1/main/db",
        "redis+sentinel://h:1/main/0/1",
        "redis+else://h:1",
        "redis://h:1,h:2",
    ],
)
def test_a_redis_url_of_several_servers_is_checked(url):
    (line,) = errors(REDIS_URL=url)

    assert "redis+sentinel://host:port,host:port/service/db" in line


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("*", ("*",)),
        ("https://a.example", ("https://a.example",)),
        (
            "http://localhost:3000, https://a.example:8443,https://[::1]:1",
            ("http://localhost:3000", "https://a.example:8443", "https://[::1]:1"),
        ),
    ],
)
def test_cors_origins_is_a_list_or_a_star(value, origins):
    assert read(CORS_ORIGINS=value).cors_origins == origins


@pytest.mark.parametrize(
    "value",
    [
        "*,https://a.example", "https://*.example", "a.example", "null", "https://a.example/",
        "https://A.example", "https://a.example:443", "http://a.example:80", "ftp://a.example",
        "https://u:p@a.example", "https://ä.example", "https://a.example:0", "https://a b", "*.a",
    ],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_is_an_error(value):
    (line,) = errors(CORS_ORIGINS=value)

    assert line.startswith("CORS_ORIGINS=")
    assert "* alone, or a comma list of origins" in line


def test_dead_letters_cannot_go_to_the_reply_topic():
    (line,) = errors(RESPONDER_DLQ_TOPIC="answers", REPLY_TOPIC="answers")

    assert line == (
        "RESPONDER_DLQ_TOPIC=answers is REPLY_TOPIC: dead letters would be read as replies; choose "
        "another topic"
    )
    assert read(RESPONDER_DLQ_TOPIC="dead").responder_dlq_topic == "dead"


TOKENS = {
    "JWT_ISSUER": "https://issuer.example/",
    "JWT_AUDIENCE": "gateway, other",
    "JWT_JWKS_URL": "https://issuer.example/keys",
}


def test_tokens_are_accepted_with_an_issuer_an_audience_and_the_url_of_keys():
    more = {"JWT_RATE": "6000/min", "JWT_ALGORITHMS": "ES256,EdDSA,ES256"}
    found = Settings.from_env(ENOUGH | TOKENS | more)

    assert found.jwt_audience == ("gateway", "other")
    assert found.jwt_rate == (6000, 60)
    assert found.jwt_algorithms == ("ES256", "EdDSA")
    assert Settings.from_env(ENOUGH).jwt_algorithms == ("RS256", "ES256")


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["JWT_ISSUER"], "JWT_ISSUER is set, but JWT_AUDIENCE and JWT_JWKS_URL are not; "),
        (["JWT_AUDIENCE"], "JWT_AUDIENCE is set, but JWT_ISSUER and JWT_JWKS_URL are not; "),
        (["JWT_ISSUER", "JWT_AUDIENCE"], "JWT_ISSUER and JWT_AUDIENCE are set, but JWT_JWKS_URL "),
    ],
    ids=["issuer", "audience", "both"],
)
def test_a_part_of_the_settings_of_tokens_is_an_error(names, error):
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(ENOUGH | {name: TOKENS[name] for name in names})

    assert caught.value.errors[0].startswith(error)


@pytest.mark.parametrize("value", ["none", "HS256", "RS256,none", "rs256", ",", "RS256;ES256"])
def test_only_algorithms_with_public_keys_can_be_chosen(value):
    with pytest.raises(SettingsError, match=r"JWT_ALGORITHMS=.*expected a comma list of any of RS"):
        Settings.from_env(ENOUGH | TOKENS | {"JWT_ALGORITHMS": value})


def test_metrics_need_a_port_of_their_own():
    assert errors(PORT="9100", METRICS_PORT="9100") == [
        "METRICS_PORT and PORT are both 9100; set METRICS_PORT to another port"
    ]
    assert errors(METRICS_PORT="0") == ["METRICS_PORT=0: expected a whole number from 1 to 65535"]
