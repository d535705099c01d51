"""Any environment and any routes.toml is accepted or reported, and no error shows a secret."""

import re
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.routing.table import RoutesError, load_routes
from gateway.routing.validation import METHODS
from rendezvous.reply_headers import LISTED_REPLY_HEADERS
from setting_parsers import masked_url
from settings import Settings, SettingsError
from tests.strategies import pointed_texts, toml_tables, wild_texts
from tests.unit.test_settings import ENOUGH

NAMES = (
    "PORT", "WEB_CONCURRENCY", "THREADS", "KAFKA_URL", "KAFKA_PREFIX", "KAFKA_TRUSTED_CERT",
    "KAFKA_CLIENT_CERT", "KAFKA_CLIENT_CERT_KEY", "KAFKA_FETCH_MAX_WAIT_MS", "REDIS_URL",
    "REDIS_TLS_VERIFY", "SECRET_KEY", "SECRET_KEY_OLD", "REPLY_TOPIC", "REPLY_TIMEOUT_S",
    "REPLY_TIMEOUT_STATUS", "REPLY_RETENTION_S", "REPLIES_MODE", "REPLIES_GROUP", "RESPONDER_GROUP",
    "RESPONDER_THREADS", "MAX_BODY_BYTES", "ROUTES_FILE", "LOG_FORMAT",
)  # fmt: skip
_PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----".format
values = st.one_of(
    wild_texts,
    pointed_texts,
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["yes", "no", "503", "504", "group", "broadcast", "text", "json", ""]),
    st.builds("{}://{}".format, st.sampled_from(["kafka", "kafka+ssl", "redis", "unix", "http"]),
              pointed_texts | st.just("a:1") | wild_texts),
    (pointed_texts | wild_texts).map(_PEM),
)  # fmt: skip
environments = st.dictionaries(st.sampled_from(NAMES), values, max_size=8)


@given(environments)
@example({"KAFKA_URL": "kafka+ssl://a:1", "KAFKA_TRUSTED_CERT": _PEM("é")})
@example({"KAFKA_URL": "kafka+ssl://a:1", "KAFKA_CLIENT_CERT": _PEM("é"),
          "KAFKA_CLIENT_CERT_KEY": _PEM("\udc80")})  # fmt: skip
def test_any_environment_is_accepted_or_gives_one_line_per_error(environment):
    try:
        read = Settings.from_env(ENOUGH | environment)
    except SettingsError as refused:
        lines, errors = str(refused).split("\n"), refused.errors
    else:
        assert read.max_in_flight >= 1
        assert read.kafka_connection()["bootstrap_servers"]
        assert read.masked_redis_url()
        return
    assert lines == errors
    assert all(line.startswith(NAMES) or "KAFKA_URL is not kafka+ssl" in line for line in lines)
    assert all(len(line) < 500 and line.isprintable() for line in lines)


SECRETS = ["SECRET_KEY", "SECRET_KEY_OLD", "KAFKA_TRUSTED_CERT", "KAFKA_CLIENT_CERT_KEY"]


@given(st.sampled_from(SECRETS), environments)
def test_no_error_shows_a_secret(name, environment):
    lines = errors_of(environment | {name: "hunter2 short"})

    assert "hunter2" not in lines


schemes = st.sampled_from(["redis://", "rediss://", "kafka://", "http://", "redis//", "", "redis:"])
users = st.sampled_from(["", "user", "us er", "user@example", "a:b", "user?x", "/user", "#"])
after = st.sampled_from(
    ["host", "host:port", "host:6379/0", "[::1", "h:1,kafka://h:2", "h/?a=b", ""]
)
passwords = st.builds("{}hunter2{}".format, pointed_texts, pointed_texts)


@given(st.sampled_from(["KAFKA_URL", "REDIS_URL"]), schemes, users, passwords, after)
@example("REDIS_URL", "redis://", "", "hunter2?", "host")
@example("REDIS_URL", "redis://", "", "://hunter2", "host:port")
def test_no_error_shows_the_password_of_a_url(name, scheme, user, password, host):
    url = f"{scheme}{user}:{password}@{host}"

    assert "hunter2" not in masked_url(url)
    assert "hunter2" not in errors_of({name: url})


@given(schemes, after, pointed_texts, pointed_texts)
@example("redis://", "host", "", "")
@example("redis://", "host/0", "", "a@b")
@example("http://", "host", "", "")
def test_no_error_shows_a_password_in_a_query(scheme, host, before, behind):
    """redis-py reads ``?password=`` as well as ``user:password@``."""
    url = f"{scheme}{host}?a={before}&password=hunter2{behind}"

    assert "hunter2" not in masked_url(url)
    assert "hunter2" not in errors_of({"REDIS_URL": url})


def errors_of(environment):
    try:
        Settings.from_env(ENOUGH | environment)
    except SettingsError as refused:
        return str(refused)
    return ""


# routes.toml


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routes")
    for name, content in SCHEMAS.items():
        (folder / name).write_bytes(content)
    return folder / "routes.toml"


parameters = st.sampled_from(["<a>", "<int:a>", "<path:a>", "<string:b>", "<uuid:b>", "<any(x):a>"])
paths = st.one_of(
    st.lists(parameters | st.sampled_from(["/", "a", "ä", ".", "%", "|", "\\", " "]), max_size=8)
    .map("".join).map("/".__add__),
    st.builds("/{}".format, pointed_texts),
    wild_texts,
)  # fmt: skip
#: Files beside routes.toml.
SCHEMAS = {
    "good.json": b'{"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {}}}',
    "true.json": b"true",
    "faulty.json": b'{"type": "a\\nb"}',
    "away.json": b'{"$ref": "http://127.0.0.1:9/"}',
    "loop.json": b'{"$ref": "#"}',
    "text.json": b"\xff\x00",
}
schemas = st.sampled_from([*SCHEMAS, "none.json", "", ".", "a\0b", "\U00012345", "x" * 300])
seconds = st.one_of(st.integers(-1, 30), st.floats(0.01, 30), st.sampled_from([0.1, 28]))
toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)  # fmt: skip
tables = st.fixed_dictionaries(
    {},
    optional={
        "path": paths | toml_values,
        "topic": st.just("orders") | pointed_texts | toml_values,
        "methods": toml_values | st.lists(st.sampled_from([*METHODS, "GET"]), max_size=3),
        "key": st.sampled_from(["path:a", "path:b", "header:X", "header:", ":"]) | toml_values,
        "headers": toml_values | st.lists(st.sampled_from(["X-A", "Cookie", ""]), max_size=3),
        "response_headers": toml_values | st.lists(
            st.sampled_from(["Set-Cookie", "allow", "X-A", "te", ""]), max_size=3
        ),
        "timeout_s": seconds | toml_values,
        "max_timeout_s": seconds | toml_values,
        "max_body_bytes": st.integers(-1, 2_000_000) | toml_values,
        "idempotency": st.sampled_from(["optional", "required", "off"]) | toml_values,
        "schema": schemas | toml_values,
        "summary": toml_values,
        "description": toml_values,
        "more": toml_values,
    },
)  # fmt: skip
good_tables = st.fixed_dictionaries(
    {"path": paths, "topic": st.just("orders")},
    optional={
        "methods": st.lists(st.sampled_from(METHODS), min_size=1, max_size=3),
        "headers": st.lists(st.sampled_from(["X-A", "X-B"]), max_size=2, unique=True),
        "response_headers": st.lists(
            st.sampled_from(["Set-Cookie", "allow"]), max_size=2, unique=True
        ),
        "timeout_s": seconds,
        "max_timeout_s": seconds,
        "max_body_bytes": st.integers(1, 1_000_000),
        "idempotency": st.sampled_from(["optional", "required"]),
        "schema": schemas,
        "summary": st.text(max_size=5),
    },
)


def written(routes):
    return toml_tables("route", routes).encode()


@given(text=st.lists(tables | good_tables, max_size=3).map(written))
@example(text=b"a = " + b"[" * 5_000)
@example(text=b"a = " + b"9" * 5_000)
@example(text=b'"a\\nb" = 1')
@example(text=written([{"path": "/<a>/<a>", "topic": "t"}]))
@example(text=b"[[route]]\npath = 1\n" + b'"a\\nb" = 1')
def test_any_tables_are_usable_routes_or_errors_that_name_the_file(file, text):
    assert_usable_or_reported(file, text)


toml_texts = st.text("abr=.[]{}\"'#\\\n\t ,0+-_e:TZ<>/\0é", max_size=60)


@given(
    text=st.binary(max_size=60)
    | toml_texts.map(str.encode)
    | st.builds("[[route]]\n{}".format, toml_texts).map(str.encode)
)
def test_any_file_holds_usable_routes_or_gives_errors_that_name_it(file, text):
    assert_usable_or_reported(file, text)


@given(name=wild_texts)
@example(name="\0")
@example(name="/proc/cpuinfo")
def test_a_missing_file_of_any_name_is_an_error(file, name):
    # Not joined with "/": an absolute name would lead to a file that exists.
    missing = Path(f"{file.parent}/missing/{name}")
    with pytest.raises(RoutesError, match="ROUTES_FILE="):
        load_routes(missing)


def assert_usable_or_reported(file, text):
    file.write_bytes(text)
    try:
        routes = load_routes(file)
    except RoutesError as refused:
        lines = str(refused).split("\n")
        assert all(line.startswith(f"{file}: ") for line in lines)
        assert all(line.isprintable() for line in lines)
        return
    for route in routes:
        assert 0.1 <= route.reply_timeout_s(3.0) <= route.max_reply_timeout_s(3.0) <= 28
        assert route.max_body_bytes is None or 1 <= route.max_body_bytes <= 1_000_000
        assert route.idempotency in ("optional", "required")
        assert set(route.response_headers) <= LISTED_REPLY_HEADERS
        assert len({name.lower() for name in route.headers}) == len(route.headers)
        assert route.schema is None or isinstance(route.schema.errors(b"{}"), list)
    app = Flask("gateway", static_folder=None)
    for number, route in enumerate(routes):
        app.add_url_rule(route.path, f"route-{number}", lambda **_: "", methods=list(route.methods))
    assert re.fullmatch(r"[A-Za-z0-9._-]+", routes[0].topic)
