"""The routing table: accepted routes and error lines."""

import pytest

from gateway.routing.responder_options import PROFILES
from gateway.routing.table import Route, RoutesError, load_routes, reply_timeouts_by_topic
from gateway.routing.validation import RouteLimits


@pytest.fixture
def load(tmp_path):
    def load(text, prefix="", **options):
        file = tmp_path / "routes.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_routes(file, prefix, **options)

    return load


def route(**keys):
    return "[[route]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()) + "\n"


ECHO = route(path='"/echo"', topic='"echo"')
ROUTE = route(path='"/a"', topic='"t"')


def test_a_route_needs_a_path_and_a_topic_only(load):
    assert load(ECHO) == (Route("/echo", "echo", ("POST",), None, ()),)


def test_a_route_with_methods_key_and_headers(load):
    text = route(
        path='"/orders/<order_id>"',
        topic='"orders"',
        methods='["PUT", "DELETE"]',
        key='"path:order_id"',
        headers='["X-Tenant", "Accept"]',
    )

    assert load(text) == (
        Route(
            "/orders/<order_id>",
            "orders",
            ("PUT", "DELETE"),
            "path:order_id",
            ("X-Tenant", "Accept"),
        ),
    )


def test_a_route_with_limits_schema_and_description(load, tmp_path):
    (tmp_path / "order.json").write_text('{"type": "object"}')
    text = ROUTE + "\n".join(
        [
            "timeout_s = 5", "max_timeout_s = 20.5", "max_body_bytes = 10",
            "idempotency = 'required'", "caller = 'header:X-User'", "schema = 'order.json'",
            "response_headers = ['Set-Cookie', 'allow']",
            "summary = 'Order'", "description = 'Order something'",
        ]
    )  # fmt: skip

    (found,) = load(text)

    assert (found.timeout_s, found.max_timeout_s, found.max_body_bytes) == (5, 20.5, 10)
    assert found.idempotency == "required"
    assert (found.caller, found.caller_header) == ("header:X-User", "X-User")
    assert found.schema.document == {"type": "object"}
    assert found.response_headers == ("set-cookie", "allow")
    assert (found.summary, found.description) == ("Order", "Order something")


def test_a_profile_sets_options_and_the_route_has_the_last_word(load):
    (spring,) = load(ROUTE + "profile = 'spring'")
    (text,) = load(ROUTE + "profile = 'spring'\nbody = 'any'\nreply_content_type = 'text/plain'")
    (other,) = load(ROUTE + "content_type = 'text/plain; charset=utf-8'\nkey = 'none'")

    assert (spring.body, spring.reply_content_type) == ("json", "application/json")
    assert (text.body, text.reply_content_type) == ("any", "text/plain")
    assert (other.body, other.content_type, other.reply_content_type, other.key) == (
        "any",
        "text/plain; charset=utf-8",
        "",
        "none",
    )


def test_a_route_without_replies_claims_no_idempotency_keys(load):
    (found,) = load(ROUTE + "reply = 'none'")
    assert (found.reply, found.idempotency) == ("none", "off")


@pytest.mark.parametrize(("profile", "options"), PROFILES.items())
def test_the_reference_tells_what_each_profile_sets(load, pytestconfig, profile, options):
    page = (pytestconfig.rootpath / "docs/reference/routes.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    row = rows[profile]
    (found,) = load(ROUTE + f"profile = {profile!r}")

    assert row.count(" = ") == len(options)
    for key, value in options.items():
        assert f'`{key} = "{value}"`' in row
        assert getattr(found, key) == value


@pytest.mark.parametrize(
    ("timeout_s", "max_timeout_s", "default_s", "timeouts_s"),
    [
        (None, None, 3.0, (3.0, 3.0)),
        (5.0, None, 3.0, (5.0, 5.0)),
        (None, 10.0, 3.0, (3.0, 10.0)),
        (1.0, 2.0, 3.0, (1.0, 2.0)),
        (None, 2.0, 3.0, (3.0, 3.0)),  # accepted although max_timeout_s is below the default
    ],
)
def test_a_route_overrides_the_default_timeout(timeout_s, max_timeout_s, default_s, timeouts_s):
    found = Route("/a", "a", timeout_s=timeout_s, max_timeout_s=max_timeout_s)

    assert (found.reply_timeout_s(default_s), found.max_reply_timeout_s(default_s)) == timeouts_s


def test_a_topic_has_the_timeout_of_its_slowest_route():
    routes = [Route("/a", "x", timeout_s=5.0), Route("/b", "x"), Route("/c", "y")]

    assert reply_timeouts_by_topic(routes, 3.0) == {"x": 5.0, "y": 3.0}
    assert reply_timeouts_by_topic(reversed(routes), 3.0) == {"y": 3.0, "x": 5.0}


def test_the_limits_of_the_settings_apply_to_routes(load):
    text = ROUTE + "timeout_s = 11\nmax_body_bytes = 100\n"

    with pytest.raises(RoutesError) as caught:
        load(text, limits=RouteLimits(10.0, 99))

    assert "from 0.1 to 10" in str(caught.value)
    assert "max_body_bytes=100: expected a whole number from 1 to 99" in str(caught.value)
    assert load(text, limits=RouteLimits(11.0, 100))


def test_an_invalid_schema_is_an_error_with_file_route_and_reason(load, tmp_path):
    (tmp_path / "order.json").write_text('{"properties": {"a": {"type": "strin"}}}')

    with pytest.raises(RoutesError) as caught:
        load(ROUTE + "schema = 'order.json'")

    assert str(caught.value).endswith(
        "routes.toml: route 1 ('/a'): schema='order.json': /properties/a/type: 'strin' is not "
        "valid under any of the given schemas"
    )


def test_the_path_of_a_schema_is_relative_to_the_routes_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "a.json").write_text("true")
    file = tmp_path / "routes.toml"
    file.write_text(ROUTE + "schema = 'schemas/a.json'")

    (found,) = load_routes(file)
    assert found.schema is not None
    assert found.schema.document is True


def test_the_prefix_is_prepended_to_every_topic(load):
    assert load(ECHO, "team-1.")[0].topic == "team-1.echo"


def test_one_path_may_have_two_topics_by_method(load):
    more = route(path='"/echo"', topic='"other"', methods='["PUT"]')

    assert [found.topic for found in load(ECHO + more)] == ["echo", "other"]


def test_the_shipped_routes_are_those_of_the_example_handlers(pytestconfig):
    routes = load_routes(pytestconfig.rootpath / "routes.toml")

    assert [(found.path, found.topic, found.methods) for found in routes] == [
        ("/echo", "echo", ("POST",)),
        ("/orders", "orders", ("POST",)),
    ]


def test_a_parameter_may_have_a_converter_of_flask(load):
    text = route(path='"/orders/<int:order_id>"', topic='"t"', key='"path:order_id"')

    assert load(text)[0].key == "path:order_id"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected one or more"),
        ("[route]\npath='/a'\n", "expected one or more"),
        ("route = []", "expected one or more"),
        ("[[routes]]\npath='/a'\n", "found 'routes'"),
        (ECHO + "[other]\n", "found 'other'"),
        ("[[route", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        ("a = " + "[" * 5_000, "not TOML"),
        ("a = " + "9" * 5_000, "not TOML"),
        ('"a\\nb" = 1', r"found 'a\nb'"),
        (route(topic='"t"'), r"path=None: expected a path that starts with '/'"),
        (route(path='"a"', topic='"t"'), "path='a': expected a path that starts with '/'"),
        (route(path="7", topic='"t"'), "path=7: expected a path"),
        (route(path='"/a/<b"', topic='"t"'), "expected parameters as <name>"),
        (route(path='"/a/<>"', topic='"t"'), "expected parameters as <name>"),
        (route(path='"/<a>/<a>"', topic='"t"'), "expected each parameter once"),
        (route(path='"/orders/{id}"', topic='"t"'), "expected parameters as <name>"),
        (route(path='"/<None>"', topic='"t"'), "a parameter cannot be named None"),
        (route(path='"/a?b=c"', topic='"t"'), "'?' cannot be in it; write a path without query"),
        (route(path='"/a%20b"', topic='"t"'), "'%' cannot be in it; write a path without query"),
        (route(path='"/a//b"', topic='"t"'), "no part of it can be empty, '.' or '..'"),
        (route(path='"/a/.."', topic='"t"'), "no part of it can be empty, '.' or '..'"),
        (route(path='"/a"', topic='"t"', timeout_s="0x" + 5_000 * "f"), "not TOML: Exceeds"),
        (route(path='"/livez"', topic='"t"'), "serves this path itself"),
        (route(path='"/docs"', topic='"t"'), "serves this path itself"),
        (route(path='"/docs/<x>"', topic='"t"'), "serves this path itself"),
        (route(path='"/openapi.json"', topic='"t"'), "serves this path itself"),
        (route(path='"/a"', topic='"t"', headers='["X-Request-Id"]'), "may not be listed"),
        (route(path='"/replies/x"', topic='"t"'), "serves this path itself"),
        (route(path='"/a"'), "topic=None: expected letters"),
        (route(path='"/a"', topic='"a b"'), "topic='a b': expected letters"),
        (route(path='"/a"', topic='"ä"'), "topic='ä': expected letters"),
        (route(path='"/a"', topic='".."'), "topic='..': expected letters"),
        (route(path='"/a"', topic='""'), "topic='': expected letters"),
        (route(path='"/a"', topic='"t"', methods='["OPTIONS"]'), "any of GET, POST, PUT"),
        (ROUTE + "methods = ['HEAD']", "DELETE; a route with GET answers HEAD too"),
        (ROUTE + "methods = 'HEAD'", "DELETE; a route with GET answers HEAD too"),
        (
            ROUTE + "methods = ['GET']\nschema = 'routes.toml'",
            "schema='routes.toml': a route with GET alone cannot have it; remove it",
        ),
        (
            ROUTE + "methods = ['GET']\nidempotency = 'required'",
            "idempotency='required': a route with GET alone cannot have it; remove it",
        ),
        (route(path='"/a"', topic='"t"', methods='["post"]'), "expected a list of any of GET"),
        (route(path='"/a"', topic='"t"', methods="[]"), "expected a list of any of GET"),
        (route(path='"/a"', topic='"t"', methods='"POST"'), "expected a list of any of GET"),
        (route(path='"/a"', topic='"t"', headers='"X-A"'), "expected a list of HTTP header names"),
        (route(path='"/a"', topic='"t"', headers='["X A"]'), "list of HTTP header names"),
        (route(path='"/a"', topic='"t"', headers="[1]"), "list of HTTP header names"),
        (route(path='"/a"', topic='"t"', headers='["Authorization"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["cookie"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["Correlation-Id"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["Reply-Topic"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["Reply-Partition"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["deadline"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["Client"]'), "may not be listed"),
        (ROUTE + "scopes = 'orders:write'", "scopes='orders:write': expected a list of scopes"),
        (ROUTE + "scopes = ['orders write']", "expected a list of scopes"),
        (ROUTE + "scopes = ['']", "expected a list of scopes"),
        (ROUTE + "scopes = [7]", "expected a list of scopes"),
        (route(path='"/a"', topic='"t"', headers='["Content-Type"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', key='"path:b"'), "expected 'header:<name>', 'path:"),
        (route(path='"/a"', topic='"t"', key='"body"'), "expected 'header:<name>', 'path:"),
        (route(path='"/a"', topic='"t"', key='"header:"'), "expected 'header:<name>', 'path:"),
        (route(path='"/a"', topic='"t"', key='"header:Authorization"'), "is never forwarded"),
        (route(path='"/a"', topic='"t"', key='"header:cookie"'), "is never forwarded"),
        (route(path='"/a"', topic='"t"', zzz='"x"'), "'zzz' is unknown; expected one of path, "),
        (route(path='"/a"', topic='"t"', timeout="3"), "did you mean 'timeout_s'? expected one of"),
        (ROUTE + "headers = ['X-A', 'Accept', 'x-a']", "headers: 'x-a' is a duplicate"),
        (ROUTE + "headers = ['X-A', 'X-A']", "headers: 'X-A' is a duplicate"),
        (ROUTE + "response_headers = 'set-cookie'", "expected a list of HTTP header names"),
        (ROUTE + "response_headers = [7]", "expected a list of HTTP header names"),
        (ROUTE + "response_headers = ['Allow', 'allow']", "'allow' is a duplicate"),
        (ROUTE + "response_headers = ['X-Any']", "'X-Any' is always sent to clients"),
        (ROUTE + "response_headers = ['ETag']", "'ETag' is always sent to clients"),
        (ROUTE + "response_headers = ['Connection']", "expected any of accept-patch"),
        (ROUTE + "response_headers = ['content-length']", "expected any of accept-patch"),
        (ROUTE + "timeout_s = 0", "timeout_s=0: expected a number of seconds from 0.1 to 28"),
        (ROUTE + "timeout_s = 28.5", "timeout_s=28.5: expected a number of seconds from 0.1"),
        (ROUTE + "timeout_s = nan", "timeout_s=nan: expected a number of seconds"),
        (ROUTE + "timeout_s = true", "timeout_s=True: expected a number of seconds"),
        (ROUTE + "timeout_s = '3'", "timeout_s='3': expected a number of seconds"),
        (ROUTE + "max_timeout_s = 29", "max_timeout_s=29: expected a number of seconds"),
        (ROUTE + "timeout_s = 5\nmax_timeout_s = 4", "expected at least timeout_s, 5"),
        (ROUTE + "max_body_bytes = 0", "max_body_bytes=0: expected a whole number from 1 to"),
        (ROUTE + "max_body_bytes = 1.5", "max_body_bytes=1.5: expected a whole number"),
        (ROUTE + "max_body_bytes = true", "max_body_bytes=True: expected a whole number"),
        (ROUTE + "max_body_bytes = 1000001", "MAX_BODY_BYTES is the limit"),
        (
            ROUTE + "idempotency = 'on'",
            "idempotency='on': expected one of 'optional', 'required', 'off'",
        ),
        (
            ROUTE + "idempotency = []",
            "idempotency=[]: expected one of 'optional', 'required', 'off'",
        ),
        (ROUTE + "caller = 'X-User'", "caller='X-User': expected 'header:<name>', such as"),
        (ROUTE + "caller = 'header:'", "caller='header:': expected 'header:<name>'"),
        (ROUTE + "caller = 'header:X User'", "caller='header:X User': expected 'header:<name>'"),
        (ROUTE + "caller = 'path:a'", "caller='path:a': expected 'header:<name>'"),
        (ROUTE + "caller = ['header:X-User']", "caller=['header:X-User']: expected 'header:"),
        (ROUTE + "caller = true", "caller=True: expected 'header:<name>'"),
        (ROUTE + "caller = 'header:Cookie'", "caller='header:Cookie': this header cannot name the"),
        (
            ROUTE + "caller = 'header:authorization'",
            "this header cannot name the caller; choose one",
        ),
        (
            ROUTE + "caller = 'header:X-Request-ID'",
            "this header cannot name the caller; choose one",
        ),
        (ROUTE + "caller = 'header:Idempotency-Key'", "this header cannot name the caller"),
        (ROUTE + "body = 'xml'", "body='xml': expected one of 'any', 'json'"),
        (ROUTE + "body = ['json']", "body=['json']: expected one of 'any', 'json'"),
        (
            ROUTE + "reply_partition = 'spring'",
            "reply_partition='spring': expected one of 'own', 'quarkus'",
        ),
        (ROUTE + "replies = 'all'", "replies='all': expected one of 'first', 'last'"),
        (ROUTE + "reply = 'no'", "reply='no': expected one of 'wait', 'none'"),
        (
            ROUTE + "reply = 'none'\nidempotency = 'required'",
            "idempotency='required': a route with reply='none' has no reply to repeat; expected "
            "'off'",
        ),
        (ROUTE + "reply = 'none'\nidempotency = 'optional'", "idempotency='optional': a route"),
        (ROUTE + "reply = 'none'\nmethods = ['PUT', 'GET']", "reply='none': a GET needs a reply"),
        (ROUTE + "content_type = 'json'", "content_type='json': expected a media type, such as"),
        (ROUTE + "content_type = 1", "content_type=1: expected a media type"),
        (ROUTE + 'reply_content_type = "a/b\\r\\nx: y"', "expected a media type"),
        (ROUTE + "reply_content_type = ''", "reply_content_type='': expected a media type"),
        (
            ROUTE + "profile = 'micronaut'",
            "profile='micronaut': expected one of 'spring', 'quarkus', 'nestjs', 'faststream'",
        ),
        (ROUTE + "profile = ['spring']", "profile=['spring']: expected one of 'spring'"),
        (ROUTE + "key = 'None'", "key='None': expected 'header:<name>', 'path:<a parameter of"),
        (ROUTE + "summary = 1", "summary=1: expected a text"),
        (ROUTE + "description = []", "description=[]: expected a text"),
        (ROUTE + "schema = 1", "schema=1: expected the path of a JSON Schema file"),
        (ROUTE + "schema = 'none.json'", "schema='none.json': it cannot be read: No such file"),
        (ROUTE + 'schema = "\\u0000"', "schema='\\x00': it cannot be read"),
        (ROUTE + "schema = 'routes.toml'", "schema='routes.toml': it is not JSON: "),
        (ECHO + ECHO, "POST '/echo' is a duplicate"),
        ("route = [1]", "expected one or more"),
        (route(path='"/a/<number:b>"', topic='"t"'), "expected parameters"),
    ],
)
def test_an_error_names_file_key_and_expected_value(load, text, expected):
    with pytest.raises(RoutesError, match=r"routes\.toml") as caught:
        load(text)

    assert expected in str(caught.value)


def test_all_errors_are_reported_at_once(load):
    text = route(path='"a"', topic='"!"') + ECHO + route(path='"/b"', topic='"t"', key='"x"')

    with pytest.raises(RoutesError) as caught:
        load(text)

    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "route 1 ('a')" in lines[0]
    assert "route 1 ('a')" in lines[1]
    assert "route 3 ('/b')" in lines[2]


def test_the_error_of_a_missing_file_names_its_setting(tmp_path):
    with pytest.raises(RoutesError, match=r"ROUTES_FILE=.*none\.toml cannot be read: No such file"):
        load_routes(tmp_path / "none.toml")
