"""Only texts issued under the secret key are ids, to the last character."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rendezvous.correlation import MAX_ID_LENGTH, CorrelationIds
from rendezvous.errors import ForeignCorrelationId
from tests.strategies import pointed_texts, wild_texts

IDS = CorrelationIds("a secret of the unit tests")

nodes = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)
deadlines_ms = st.integers(0, 10**13 - 1)
issued = st.builds(IDS.issue, nodes, deadlines_ms)
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(secrets, nodes, deadlines_ms)
def test_an_id_is_read_as_it_was_issued(secret, node, deadline_ms):
    ids = CorrelationIds(secret)
    text = ids.issue(node, deadline_ms)
    read = ids.read(text)

    assert (read.text, read.node, read.deadline_ms) == (text, node, deadline_ms)
    assert len(text) <= MAX_ID_LENGTH
    assert set(text) <= set(string.ascii_letters + string.digits + "._-")


@given(issued, st.data())
def test_an_id_with_any_character_altered_is_refused(text, data):
    position = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(
        st.sampled_from(string.ascii_letters + string.digits + "._-") | st.characters()
    )
    assume(other != text[position])

    refused(text[:position] + other + text[position + 1 :])


@given(issued, wild_texts.filter(bool), st.data())
def test_an_id_with_inserted_or_removed_characters_is_refused(text, more, data):
    position = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(position, len(text)))

    refused(text[:position] + more + text[position:])
    if end > position:
        refused(text[:position] + text[end:])


@given(issued, issued)
def test_an_id_mixed_from_two_ids_is_refused(one, other):
    ones, others = one.split("."), other.split(".")
    for part in range(4):
        mixed = ".".join([*ones[:part], others[part], *ones[part + 1 :]])
        if mixed != one:
            refused(mixed)


@given(secrets, nodes, deadlines_ms)
def test_an_id_under_another_key_is_refused(secret, node, deadline_ms):
    assume(secret != "a secret of the unit tests")

    with pytest.raises(ForeignCorrelationId, match="SECRET_KEY"):
        IDS.read(CorrelationIds(secret).issue(node, deadline_ms))


@given(wild_texts | pointed_texts | st.text(max_size=5_000))
def test_any_text_that_was_not_issued_is_refused(text):
    refused(text)


def refused(text):
    with pytest.raises(ForeignCorrelationId):
        IDS.read(text)
