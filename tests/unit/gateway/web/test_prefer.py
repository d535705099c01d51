"""The Prefer header of RFC 7240: known preferences apply, everything else is ignored."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.prefer import Preferences


def parsed(*lines):
    found = Preferences.parse(lines)
    return found.wait_s, found.respond_async


@pytest.mark.parametrize(
    ("line", "wait_s", "respond_async"),
    [
        ("", None, False),
        ("wait=5", 5, False),
        ("respond-async", None, True),
        ("respond-async, wait=10", 10, True),
        ("wait=10,respond-async", 10, True),
        ("handling=lenient, wait=1, return=minimal", 1, False),
        ("wait=0", 0, False),
        ("wait=007", 7, False),
        # Case of names, whitespace, empty values, parameters.
        ("WAIT=5", 5, False),
        ("Respond-Async", None, True),
        ("  wait = 5  ,  respond-async  ", 5, True),
        ("\twait\t=\t5", 5, False),
        (",, ,wait=5,,", 5, False),
        ("respond-async=", None, True),
        ('respond-async=""', None, True),
        ("wait=5; foo", 5, False),
        ('wait=5;foo="a, respond-async";bar', 5, False),
        ("respond-async;x=1 , wait=2 ;y", 2, True),
        ('foo; bar="; wait=9", wait=3', 3, False),
        # Quoted.
        ('wait="5"', 5, False),
        (r'wait="\5"', 5, False),
        ('foo="wait=9, respond-async", wait=2', 2, False),
        (r'foo="\", wait=9, \"", wait=2', 2, False),
        # The first of a name counts, even if it is malformed.
        ("wait=1, wait=2", 1, False),
        ("wait=x, wait=2", None, False),
        ("wait, wait=2", None, False),
        ("respond-async=no, respond-async", None, False),
        # Malformed preferences are ignored.
        ("wait", None, False),
        ("wait=", None, False),
        ("wait=-1", None, False),
        ("wait=+1", None, False),
        ("wait=1.5", None, False),
        ("wait=1e3", None, False),
        ("wait=5 s", None, False),
        ("wait=\u0665", None, False),
        ("wait=1_0", None, False),
        ("wait=9999999999", None, False),
        ('wait="5', None, False),
        ('wait=5"', None, False),
        ("wait==5", None, False),
        ("wait 5", None, False),
        ("=5", None, False),
        ("respond-async=yes", None, False),
        ("respond_async", None, False),
        ("xwait=5", None, False),
        # A quote that is not closed extends to the end.
        ('wait=5, foo="bar, respond-async', 5, False),
        ('foo="wait=5', None, False),
        ('foo="wait=5\\', None, False),
    ],
)
def test_a_header_is_parsed_as_rfc_7240_defines(line, wait_s, respond_async):
    assert parsed(line) == (wait_s, respond_async)


def test_several_headers_are_one_list():
    assert parsed("wait=3", "respond-async", "wait=9") == (3, True)
    assert parsed('foo="', "wait=3") == (3, False)
    assert parsed() == (None, False)


@pytest.mark.parametrize(
    "line",
    ['"' + '\\"' * 15_000, "wait=5" + " " * 30_000 + "x", '"' + "\\" * 30_001, '"a' * 15_001],
    ids=["escaped quotes", "whitespace", "backslashes", "quotes"],
)
def test_a_header_is_parsed_in_linear_time(line):
    """With backtracking 8 kB took 2 s, which blocked the whole process."""
    started_s = time.process_time()

    assert parsed(line) == (None, False)
    assert time.process_time() - started_s < 2


#: Pieces that often form valid headers.
_pieces = st.sampled_from(
    ["wait", "respond-async", "=", "5", ",", ";", '"', "\\", " ", "foo", "\t", "é", "\n", "\x00"]
)


@given(st.lists(st.one_of(st.text(), st.lists(_pieces).map("".join))))
def test_no_header_raises_an_error(lines):
    found = Preferences.parse(lines)

    assert found.wait_s is None or 0 <= found.wait_s < 10**9
    assert found.respond_async in (True, False)


@pytest.mark.parametrize(
    ("line", "wait_s"),
    [
        ("", 3.0),
        ("wait=1", 1.0),
        ("wait=5", 5.0),
        ("wait=60", 10.0),
        ("wait=0", 1.0),  # a wait of 0 would return neither a reply nor a 202
        ("respond-async", 0.0),
        ("respond-async, wait=0", 0.0),
        ("respond-async, wait=2", 2.0),
        ("respond-async, wait=60", 10.0),
    ],
)
def test_a_wait_is_limited_to_the_minimum_and_the_maximum(line, wait_s):
    assert Preferences.parse([line]).wait_within_s(3.0, 10.0) == wait_s


def test_a_maximum_below_the_minimum_wait_applies():
    assert Preferences.parse(["wait=0"]).wait_within_s(0.5, 0.5) == 0.5


@pytest.mark.parametrize(
    ("line", "wait_s", "is_pending", "applied"),
    [
        ("", 3.0, False, ""),
        ("", 3.0, True, ""),
        ("handling=lenient", 3.0, False, ""),
        ("wait=60", 10.0, False, "wait=10"),
        ("wait=2", 2.0, False, "wait=2"),
        ("wait=60", 2.5, False, "wait=2.5"),
        ("respond-async", 0.0, True, "respond-async"),
        ("respond-async", 0.0, False, ""),
        ("respond-async, wait=2", 2.0, True, "respond-async, wait=2"),
        ("respond-async, wait=2", 2.0, False, "wait=2"),
    ],
)
def test_only_applied_preferences_are_reported(line, wait_s, is_pending, applied):
    assert Preferences.parse([line]).applied(wait_s, is_pending) == applied
