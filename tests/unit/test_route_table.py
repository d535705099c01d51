"""routes.toml: what it may say, and what is said about what it may not."""

import pytest

from gateway.route_table import Route, RoutesError, load_routes


@pytest.fixture
def load(tmp_path):
    def load(text, prefix=""):
        file = tmp_path / "routes.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_routes(file, prefix)

    return load


def route(**keys):
    return "[[route]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()) + "\n"


ECHO = route(path='"/echo"', topic='"echo"')


def test_a_route_needs_a_path_and_a_topic_only(load):
    assert load(ECHO) == (Route("/echo", "echo", ("POST",), None, ()),)


def test_a_route_with_everything(load):
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


def test_the_prefix_stands_before_every_topic(load):
    assert load(ECHO, "team-1.")[0].topic == "team-1.echo"


def test_one_path_may_feed_two_topics_by_method(load):
    more = route(path='"/echo"', topic='"other"', methods='["PUT"]')

    assert [found.topic for found in load(ECHO + more)] == ["echo", "other"]


def test_the_shipped_routes_are_those_of_the_demo_handlers(pytestconfig):
    routes = load_routes(pytestconfig.rootpath / "routes.toml")

    assert [(found.path, found.topic, found.methods) for found in routes] == [
        ("/echo", "echo", ("POST",)),
        ("/orders", "orders", ("POST",)),
    ]


def test_a_converter_of_flask_may_stand_before_a_parameter(load):
    text = route(path='"/orders/<int:order_id>"', topic='"t"', key='"path:order_id"')

    assert load(text)[0].key == "path:order_id"


@pytest.mark.parametrize(
    ("text", "said"),
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
        (route(path='"/livez"', topic='"t"'), "answers that path itself"),
        (route(path='"/replies/x"', topic='"t"'), "answers that path itself"),
        (route(path='"/a"'), "topic=None: expected letters"),
        (route(path='"/a"', topic='"a b"'), "topic='a b': expected letters"),
        (route(path='"/a"', topic='"ä"'), "topic='ä': expected letters"),
        (route(path='"/a"', topic='".."'), "topic='..': expected letters"),
        (route(path='"/a"', topic='""'), "topic='': expected letters"),
        (route(path='"/a"', topic='"t"', methods='["GET"]'), "expected a list of any of POST, PUT"),
        (route(path='"/a"', topic='"t"', methods='["post"]'), "expected a list of any of POST"),
        (route(path='"/a"', topic='"t"', methods="[]"), "expected a list of any of POST"),
        (route(path='"/a"', topic='"t"', methods='"POST"'), "expected a list of any of POST"),
        (route(path='"/a"', topic='"t"', headers='"X-A"'), "expected a list of HTTP header names"),
        (route(path='"/a"', topic='"t"', headers='["X A"]'), "list of HTTP header names"),
        (route(path='"/a"', topic='"t"', headers="[1]"), "list of HTTP header names"),
        (route(path='"/a"', topic='"t"', headers='["Authorization"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["cookie"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["Correlation-Id"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["Reply-Topic"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["deadline"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', headers='["Content-Type"]'), "may not be listed"),
        (route(path='"/a"', topic='"t"', key='"path:b"'), "expected 'header:<name>' or 'path:"),
        (route(path='"/a"', topic='"t"', key='"body"'), "expected 'header:<name>' or 'path:"),
        (route(path='"/a"', topic='"t"', key='"header:"'), "expected 'header:<name>' or 'path:"),
        (route(path='"/a"', topic='"t"', key='"header:Authorization"'), "never travels"),
        (route(path='"/a"', topic='"t"', key='"header:cookie"'), "never travels"),
        (route(path='"/a"', topic='"t"', keys='"x"'), "'keys' is not known; expected one of"),
        (ECHO + ECHO, "POST '/echo' is there twice"),
    ],
)
def test_a_fault_is_told_with_file_place_and_expectation(load, text, said):
    with pytest.raises(RoutesError, match=r"routes\.toml") as caught:
        load(text)

    assert said in str(caught.value)


def test_all_faults_are_told_at_once(load):
    text = route(path='"a"', topic='"!"') + ECHO + route(path='"/b"', topic='"t"', key='"x"')

    with pytest.raises(RoutesError) as caught:
        load(text)

    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "route 1 ('a')" in lines[0]
    assert "route 1 ('a')" in lines[1]
    assert "route 3 ('/b')" in lines[2]


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path):
    with pytest.raises(RoutesError, match=r"ROUTES_FILE=.*none\.toml cannot be read: No such file"):
        load_routes(tmp_path / "none.toml")


def test_a_route_that_is_not_a_table_is_a_fault_like_any_other(load):
    with pytest.raises(RoutesError, match="expected one or more"):
        load("route = [1]")


def test_a_converter_that_flask_does_not_know_is_a_fault(load):
    with pytest.raises(RoutesError, match="expected parameters"):
        load(route(path='"/a/<number:b>"', topic='"t"'))
