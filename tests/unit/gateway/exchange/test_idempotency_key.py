"""Idempotency-Key: what is a key, whose it is, and which requests are the same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.idempotency_key import claim_name, fingerprint_of, key_of
from gateway.problems import IdempotencyKeyInvalid, IdempotencyKeyMissing, Sent
from rendezvous.contract import Request

VISIBLE = [chr(code) for code in range(0x21, 0x7F)]
visible_keys = st.text(st.sampled_from(VISIBLE), min_size=1, max_size=255)
REQUEST = Request("an id", "orders", "replies", 1, b"body", "text/plain", "POST", "/a", "b=c")


@pytest.mark.parametrize(
    "value",
    ["8e03978e-40d5", '"8e03978e-40d5"', " 8e03978e-40d5 ", ' "8e03978e-40d5"\t'],
)
def test_a_key_is_the_same_in_quotes_and_bare(value):
    assert key_of([value], required=False) == "8e03978e-40d5"


@given(visible_keys)
def test_any_visible_ascii_is_a_key_in_quotes(key):
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')

    assert key_of([f'"{escaped}"'], required=True) == key


@given(visible_keys.filter(lambda key: not set(key) & {'"', ","}))
def test_a_bare_key_is_taken_as_it_is(key):
    assert key_of([key], required=True) == key


@pytest.mark.parametrize(
    "lines",
    [
        [""],
        [" "],
        ['""'],
        ["x" * 256],
        [f'"{"x" * 256}"'],
        ["a b"],
        ['"a b"'],
        ['"a'],
        ['a"'],
        ['a"b'],
        ['"a"b"'],
        ['"a\\b"'],
        ["ä"],
        ['"ä"'],
        ["a\x00"],
        ["a\x7f"],
        ["a, b"],
        ["a,a"],
        ['"a","a"'],
        ['"a";b=1'],
        ["a", "a"],
    ],
)
def test_what_is_no_key_is_said_to_be_none(lines):
    for required in (False, True):
        with pytest.raises(IdempotencyKeyInvalid) as caught:
            key_of(lines, required=required)

        assert (caught.value.status, caught.value.sent) == (400, Sent.NO)


@given(st.lists(st.text(), min_size=1, max_size=2))
def test_whatever_the_header_holds_is_a_key_or_told_to_be_none(lines):
    try:
        key = key_of(lines, required=False)
    except IdempotencyKeyInvalid:
        return
    assert key is not None
    assert 1 <= len(key) <= 255
    assert set(key) <= set(VISIBLE)


def test_a_key_may_be_left_out_unless_the_route_asks_for_one():
    assert key_of([], required=False) is None
    with pytest.raises(IdempotencyKeyMissing) as caught:
        key_of([], required=True)
    assert (caught.value.status, caught.value.sent) == (400, Sent.NO)


def test_the_keys_of_two_clients_never_meet():
    names = {claim_name(*whose) for whose in [("", "ab"), ("a", "b"), ("ab", ""), ("b", "a")]}

    assert len(names) == 4


def test_a_request_that_is_repeated_is_the_same():
    again = replace(
        REQUEST, correlation_id="another", deadline_ms=2, headers=(("x-request-id", "2"),)
    )

    assert fingerprint_of(again) == fingerprint_of(REQUEST)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/b"},
        {"query": "b=d"},
        {"content_type": "text/html"},
        {"content_type": None},
        {"body": b"other"},
        {"key": b"somebody else's"},
        # What one part loses the next one gains.
        {"path": "/ab=c", "query": ""},
        {"content_type": "text/plainbody", "body": b""},
    ],
)
def test_a_request_that_differs_is_another(change):
    assert fingerprint_of(replace(REQUEST, **change)) != fingerprint_of(REQUEST)


def test_no_content_type_is_not_an_empty_one():
    without, empty = replace(REQUEST, content_type=None), replace(REQUEST, content_type="")

    assert fingerprint_of(without) != fingerprint_of(empty)
