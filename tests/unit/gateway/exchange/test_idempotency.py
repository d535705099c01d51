"""The Idempotency-Key header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.idempotency import key_of
from gateway.problems import IdempotencyKeyInvalid, IdempotencyKeyMissing, Sent

VISIBLE = [chr(code) for code in range(0x21, 0x7F)]
visible_keys = st.text(st.sampled_from(VISIBLE), min_size=1, max_size=255)


@pytest.mark.parametrize(
    "value", ["8e03978e-40d5", '"8e03978e-40d5"', " 8e03978e-40d5 ", ' "8e03978e-40d5"\t']
)
def test_a_key_is_the_same_in_quotes_and_bare(value):
    assert key_of([value], required=False) == "8e03978e-40d5"


@given(visible_keys)
def test_any_visible_ascii_text_is_a_key_in_quotes(key):
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')

    assert key_of([f'"{escaped}"'], required=True) == key


@given(visible_keys.filter(lambda key: not set(key) & {'"', ","}))
def test_a_bare_key_is_unchanged(key):
    assert key_of([key], required=True) == key


@pytest.mark.parametrize(
    "lines",
    [
        [""], [" "], ['""'], ["x" * 256], [f'"{"x" * 256}"'], ["a b"], ['"a b"'],
        ['"a'], ['a"'], ['a"b'], ['"a"b"'], ['"a\\b"'], ["ä"], ['"ä"'],
        ["a\x00"], ["a\x7f"], ["a, b"], ["a,a"], ['"a","a"'], ['"a";b=1'], ["a", "a"],
    ],
)  # fmt: skip
def test_a_malformed_key_is_rejected(lines):
    for required in (False, True):
        with pytest.raises(IdempotencyKeyInvalid) as caught:
            key_of(lines, required=required)

        assert (caught.value.status, caught.value.sent) == (400, Sent.NO)


@given(st.lists(st.text(), min_size=1, max_size=2))
def test_any_header_is_a_valid_key_or_rejected(lines):
    try:
        key = key_of(lines, required=False)
    except IdempotencyKeyInvalid:
        return
    assert key is not None
    assert 1 <= len(key) <= 255
    assert set(key) <= set(VISIBLE)


def test_a_key_may_be_missing_unless_the_route_requires_one():
    assert key_of([], required=False) is None
    with pytest.raises(IdempotencyKeyMissing) as caught:
        key_of([], required=True)
    assert (caught.value.status, caught.value.sent) == (400, Sent.NO)
