"""The TOML file of the clients with API keys: accepted tables and error lines."""

import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clients.api_keys import hash_of, new_key
from gateway.clients.api_keys_file import ApiKeysError, load_api_keys
from gateway.clients.client import Client, Rate
from tests.strategies import pointed_texts, toml_tables, wild_texts

PATHS = ("/echo", "/orders/<order_id>")
KEY, OTHER_KEY, THIRD_KEY = new_key(), new_key(), new_key()


def client(name="shop", *keys, **more):
    hashes = ", ".join(f'"{hash_of(key)}"' for key in keys or (KEY,))
    lines = [f'name = "{name}"', f"keys = [{hashes}]"]
    return "[[client]]\n" + "\n".join(lines + [f"{k} = {v}" for k, v in more.items()]) + "\n"


def table(**keys):
    return "[[client]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()) + "\n"


def load(text):
    api_keys = load_api_keys("", text, PATHS)
    assert api_keys is not None
    return api_keys


def error_of(text):
    with pytest.raises(ApiKeysError) as caught:
        load(text)
    return str(caught.value)


def test_without_file_and_text_no_client_needs_a_key():
    assert load_api_keys("", "", PATHS) is None


def test_a_client_needs_a_name_and_a_key_only():
    assert load(client()).client_of(KEY) == Client("shop", None, None, 1.0)


def test_a_client_with_every_field():
    text = client(
        "team-1.a_b",
        routes='["/echo", "/orders/<order_id>"]',
        rate='"6000/min"',
        in_flight_share="0.25",
        scopes='["orders:write", "a"]',
    )

    found = load(text).client_of(KEY)

    assert found == Client(
        "team-1.a_b",
        frozenset(PATHS),
        Rate(6_000, 60),
        0.25,
        scopes=frozenset({"orders:write", "a"}),
    )


@pytest.mark.parametrize(("text", "rate"), [("100/s", Rate(100, 1)), ("1/min", Rate(1, 60))])
def test_a_rate_is_a_number_of_requests_per_second_or_minute(text, rate):
    assert load(client(rate=f'"{text}"')).client_of(KEY).rate == rate


@pytest.mark.parametrize(("fields", "is_admin"), [({}, False), ({"admin": "true"}, True)])
def test_a_client_is_an_admin_if_its_entry_says_so(fields, is_admin):
    assert load(client(**fields)).client_of(KEY).is_admin is is_admin


def test_a_client_may_have_several_keys_so_that_keys_can_be_replaced():
    api_keys = load(client("shop", KEY, OTHER_KEY) + client("depot", THIRD_KEY))

    assert api_keys.client_of(KEY) == api_keys.client_of(OTHER_KEY) == Client("shop")
    assert api_keys.client_of(THIRD_KEY) == Client("depot")


def test_a_file_is_read_like_the_text(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(client())

    api_keys = load_api_keys(str(file), "", PATHS)

    assert api_keys is not None
    assert api_keys.client_of(KEY) == Client("shop")


def test_the_error_of_a_missing_file_names_its_setting(tmp_path):
    with pytest.raises(ApiKeysError, match=r"API_KEYS_FILE='.*none' cannot be read: No such file"):
        load_api_keys(str(tmp_path / "none"), "", PATHS)


def test_an_error_in_a_file_names_the_file(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_bytes(b"\xff")

    with pytest.raises(ApiKeysError, match=r"keys\.toml: not TOML: not UTF-8 at byte 0"):
        load_api_keys(str(file), "", PATHS)


GOOD = f'["{hash_of(KEY)}"]'
HEX = hash_of(KEY).removeprefix("sha256:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" \n", "API_KEYS: expected one or more [[client]] tables and nothing else"),
        ("client = []", "expected one or more [[client]]"),
        ("client = [1]", "expected one or more [[client]]"),
        ("[client]\nname = 'a'", "expected one or more [[client]]"),
        (client() + "[other]\n", "expected one or more [[client]]"),
        ("[[client", "API_KEYS: not TOML (at "),
        ("a = " + "[" * 5_000, "API_KEYS: not TOML"),
        ("a = " + "9" * 5_000, "API_KEYS: not TOML"),
        (table(keys=GOOD), "client 1: name: expected letters, digits"),
        (table(name='"a b"', keys=GOOD), "client 1: name: expected letters, digits"),
        (table(name='"ä"', keys=GOOD), "name: expected letters"),
        (table(name="7", keys=GOOD), "name: expected letters"),
        (table(name='""', keys=GOOD), "name: expected letters"),
        (table(name=f'"{KEY}"', keys=GOOD), "client 1: name: expected letters"),
        (table(name='"rdv_short"', keys=GOOD), "client 1: name: expected letters"),
        (table(name=f'"{"a" * 41}"', keys=GOOD), "client 1: name: expected letters"),
        (table(name='"shop"'), "client 1 ('shop'): keys: expected a list"),
        (table(name='"shop"', keys="[]"), "keys: expected a list of one or more"),
        (table(name='"shop"', keys=GOOD[1:-1]), "keys: expected a list of one or more"),
        (table(name='"shop"', keys="[7]"), "keys: item 1: expected"),
        (table(name='"shop"', keys='["md5:00"]'), "keys: item 1: expected"),
        (table(name='"shop"', keys=GOOD.upper()), "keys: item 1: expected"),
        (table(name='"shop"', keys=f'["{KEY}"]'), "item 1 is a key, not its hash: expected"),
        (
            table(name='"shop"', keys=f'["{hash_of("changeme")}"]'),
            "keys: item 1 is the hash of a word: expected",
        ),
        (client(routes='["/nope"]'), "routes: item 1='/nope': expected one of /echo, /orders/<"),
        (client(routes='["/orders/7"]'), "routes: item 1='/orders/7': expected one of /echo"),
        (client(routes=f'["/{HEX}"]'), "routes: item 1: expected one of /echo"),
        (client(rate=f'"{HEX}"'), "rate: expected a number of requests"),
        (client(routes='"/echo"'), "routes: expected a list of one or more of /echo"),
        (client(routes="[]"), "routes: expected a list of one or more of /echo"),
        (client(routes="[1]"), "routes: item 1=1: expected one of /echo"),
        (client(rate='"100/h"'), "rate='100/h': expected a number of requests as"),
        (client(rate='"0/s"'), "rate='0/s': expected"),
        (client(rate='"-1/s"'), "rate='-1/s': expected"),
        (client(rate="100"), "rate=100: expected"),
        (client(scopes='"orders"'), "scopes: expected a list of scopes of at most 40 characters"),
        (client(scopes='["a", "a b"]'), "scopes: item 2: expected a list of scopes"),
        (client(scopes=f'["{KEY}"]'), "scopes: item 1: expected a list of scopes"),
        (client(in_flight_share="0"), "in_flight_share=0: expected a number above 0 and up to 1"),
        (client(in_flight_share="1.5"), "in_flight_share=1.5: expected"),
        (client(in_flight_share="nan"), "in_flight_share: expected"),
        (client(in_flight_share="true"), "in_flight_share: expected"),
        (client(admin='"yes"'), "admin='yes': expected true or false"),
        (client(admin="1"), "admin=1: expected true or false"),
        (client(in_flight_share='"half"'), "in_flight_share='half': expected"),
        (client(in_flight_share="9" * 400), "in_flight_share: expected"),
        (client(key='"x"'), "'key' is unknown; expected one of name, keys, routes"),
        (
            client() + client("shop", OTHER_KEY),
            "client 2 ('shop'): name: another client has this name",
        ),
        (client("a", KEY, KEY), "client 1 ('a'): keys: item 2 is a duplicate"),
        (client("a") + client("b"), "client 2 ('b'): keys: item 1 is a duplicate"),
    ],
)
def test_an_error_names_client_field_and_expected_value_and_shows_no_secret(text, expected):
    found = error_of(text)

    assert expected in found
    assert KEY not in found
    assert hash_of(KEY).removeprefix("sha256:") not in found


def test_all_errors_are_reported_at_once():
    text = client("a", rate='"x"', routes="[]") + client("b", OTHER_KEY, in_flight_share="2")

    lines = error_of(text).splitlines()

    assert len(lines) == 3
    assert all(line.startswith("API_KEYS: client ") for line in lines)


SECRET = "Hunter2isnotarandomkeybutlongenoughtobeoneatleast"
secrets = st.sampled_from(
    [SECRET, f"rdv_{SECRET}", f"sha256:{SECRET}", f"sha256:{SECRET.lower()}", f"/{SECRET}"]
)
values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | secrets
    | st.sampled_from(["/echo", "shop", "1/s", hash_of(KEY), hash_of(OTHER_KEY)])
    | pointed_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(secrets, inner, max_size=2),
    max_leaves=4,
)
tables = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("shop") | values,
        "keys": st.lists(st.sampled_from([hash_of(KEY), hash_of(OTHER_KEY)]) | values, max_size=3),
        "routes": st.lists(st.just("/echo") | values, max_size=2) | values,
        "rate": st.just("5/s") | values,
        "scopes": st.lists(st.just("orders:write") | values, max_size=2) | values,
        "in_flight_share": st.floats() | values,
        SECRET: values,
    },
)


@given(st.lists(tables, max_size=3))
@example([{"name": SECRET, "keys": [hash_of(KEY)]}])
def test_any_tables_are_accepted_or_give_error_lines_without_secrets(found):
    assert_accepted_or_reported(toml_tables("client", found))


@given(
    wild_texts
    | st.text("clientnam keys=.[]{}\"'#\\\n\t ,0+-_e:TZ<>/\0é", max_size=60)
    | st.builds("[[client]]\n{} = {}\n{}".format, pointed_texts, secrets, pointed_texts)
    | st.builds('{0} = "{1}"\n{0} = "{1}"'.format, secrets, secrets)
    | st.builds('a = {{ {0} = 1, {0} = "{1}" }}'.format, secrets, secrets)
)
@example("a = " + "[" * 5_000)
def test_any_text_is_accepted_or_gives_error_lines_without_secrets(text):
    assert_accepted_or_reported(text)


def assert_accepted_or_reported(text):
    try:
        load_api_keys("", text, PATHS)
    except ApiKeysError as error:
        refused = error
    else:
        return
    lines = str(refused).split("\n")
    assert all(line.startswith("API_KEYS: ") and line.isprintable() for line in lines)
    # With the exception chain, as a log shows it.
    trace = "".join(traceback.format_exception(refused)).lower()
    assert SECRET.lower() not in trace
    assert hash_of(KEY) not in trace
