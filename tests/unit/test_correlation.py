"""Correlation ids: unique, bounded, and worthless when made up."""

import re
import string

import pytest

from replies.correlation import MAX_ID_LENGTH, CorrelationIds, epoch_ms, new_node
from replies.errors import ForeignCorrelationId

NODE = "0a1b2c3d"


def test_an_id_says_who_waits_and_until_when(ids):
    known = ids.read(ids.issue(NODE, 1_700_000_000_000))

    assert (known.node, known.deadline_ms) == (NODE, 1_700_000_000_000)


def test_an_id_is_short_and_safe_in_urls_and_headers(ids):
    text = ids.issue(new_node(), epoch_ms())

    assert len(text) <= MAX_ID_LENGTH
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)


def test_no_two_ids_are_alike(ids):
    assert len({ids.issue(NODE, 1_700_000_000_000) for _ in range(1_000)}) == 1_000


def test_another_secret_key_does_not_recognise_an_id(ids):
    with pytest.raises(ForeignCorrelationId, match="SECRET_KEY"):
        CorrelationIds("another secret of the tests").read(ids.issue(NODE, epoch_ms()))


def test_the_same_secret_key_recognises_it_elsewhere(ids):
    text = CorrelationIds("a secret of the unit tests").issue(NODE, epoch_ms())

    assert ids.read(text).text == text


def test_any_altered_character_makes_an_id_foreign(ids):
    text = ids.issue(NODE, epoch_ms())

    for place, character in enumerate(text):
        other = "0" if character != "0" else "1"
        with pytest.raises(ForeignCorrelationId):
            ids.read(text[:place] + other + text[place + 1 :])


def test_no_other_last_character_spells_the_same_signature(ids):
    # Base64 ignores bits of the last character, so that decoding would accept up to four of them.
    text = ids.issue(NODE, epoch_ms())

    for other in set(string.ascii_letters + string.digits + "-_") - {text[-1]}:
        with pytest.raises(ForeignCorrelationId):
            ids.read(text[:-1] + other)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "...", "x", "a" * 10_000, "é" * 90, "0a1b2c3d.1700000000000.x.y",
        "0a1b2c3d.1700000000000." + "a" * 22 + "." + "b" * 43,
        "0A1B2C3D.1700000000000." + "a" * 22 + "." + "b" * 43,
        "0a1b2c3d.\u0661" + "0" * 12 + "." + "a" * 22 + "." + "b" * 43,
        "0a1b2c3d.1700000000000." + "a" * 22 + "." + "b" * 43 + "\n",
    ],
)  # fmt: skip
def test_what_we_never_made_is_foreign(ids, text):
    with pytest.raises(ForeignCorrelationId):
        ids.read(text)


def test_an_id_with_something_around_it_is_foreign(ids):
    text = ids.issue(NODE, epoch_ms())

    for other in (text + "\n", text + "é", " " + text, text + ".x", text * 2):
        with pytest.raises(ForeignCorrelationId):
            ids.read(other)


def test_the_time_left_counts_down_to_the_deadline_plus_the_retention(new_id):
    pending, over = new_id(due_in_ms=60_000), new_id(due_in_ms=-1_000)

    assert 30_000 < pending.remaining_ms() <= 60_000
    assert over.remaining_ms() <= -1_000
    assert 30_000 < over.remaining_ms(retention_ms=61_000) <= 60_000


def test_every_process_gets_a_name_of_its_own():
    assert len({new_node() for _ in range(100)}) == 100
    assert re.fullmatch(r"[0-9a-f]{8}", new_node())
