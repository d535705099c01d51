"""Correlation ids: unique, limited in length, and refused when forged."""

import os
import re
import string
from hashlib import sha256

import pytest
from itsdangerous import Signer

from rendezvous.correlation import (
    MAX_ID_LENGTH,
    MAX_KEEP_S,
    NONCES_DRAWN,
    CorrelationIds,
    SigningKey,
    epoch_ms,
    is_stream_id,
    new_node,
)
from rendezvous.errors import ForeignCorrelationId
from tests.fakes import record_calls
from tests.unit import apps

NODE = "0a1b2c3d"


def is_for(ids, text, owner):
    """Return whether *owner* can read *text*."""
    try:
        ids.read_for(text, owner)
    except ForeignCorrelationId:
        return False
    return True


def test_an_id_contains_its_node_and_deadline(ids):
    known = ids.read(ids.issue(NODE, 1_700_000_000_000))

    assert (known.node, known.deadline_ms) == (NODE, 1_700_000_000_000)


def test_an_id_is_read_elsewhere_under_the_same_secret_key(ids):
    text = CorrelationIds(apps.SECRET_KEY).issue(NODE, epoch_ms())

    assert ids.read(text).text == text


def test_an_equivalent_last_character_makes_an_id_foreign(ids):
    # Base64 ignores bits of the last character: up to four characters decode to the same bytes.
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
def test_a_text_that_was_not_issued_is_foreign(ids, text):
    with pytest.raises(ForeignCorrelationId):
        ids.read(text)


def test_an_id_with_additional_characters_is_foreign(ids):
    text = ids.issue(NODE, epoch_ms())

    for other in (text + "\n", text + "é", " " + text, text + ".x", text * 2):
        with pytest.raises(ForeignCorrelationId):
            ids.read(other)


def test_remaining_ms_ends_at_the_deadline_plus_the_retention(new_id):
    pending, over = new_id(due_in_ms=60_000), new_id(due_in_ms=-1_000)

    assert 30_000 < pending.remaining_ms() <= 60_000
    assert over.remaining_ms() <= -1_000
    assert 30_000 < over.remaining_ms(retention_ms=61_000) <= 60_000


def test_node_names_are_unique():
    assert len({new_node() for _ in range(100)}) == 100
    assert re.fullmatch(r"[0-9a-f]{8}", new_node())


def test_an_id_with_an_owner_is_for_that_owner_only(ids):
    known = ids.read(ids.issue(NODE, 1_700_000_000_000, owner="blue"))

    assert (known.node, known.deadline_ms, known.keep_ms) == (NODE, 1_700_000_000_000, 0)
    assert ids.read_for(known.text, "blue") == known
    assert not is_for(ids, known.text, "Blue")
    assert not is_for(ids, known.text, "")
    assert not is_for(ids, known.text, "red")


def test_an_id_without_an_owner_is_for_clients_without_a_name(ids):
    known = ids.read(ids.issue(NODE, epoch_ms()))

    assert is_for(ids, known.text, "")
    assert not is_for(ids, known.text, "blue")


def test_an_id_does_not_disclose_its_owner(ids):
    tags = {ids.issue(NODE, 0, owner="blue").split(".")[2][22:] for _ in range(50)}

    assert len(tags) == 50
    assert "blue" not in "".join(tags)


def test_the_owner_of_an_id_can_be_verified_only_under_its_secret_key(ids):
    known = ids.read(ids.issue(NODE, epoch_ms(), owner="blue"))

    # Not with read_for(), which also checks the signature.
    assert SigningKey(apps.SECRET_KEY).is_tagged(known.text, "blue")
    assert not SigningKey("another secret of the tests").is_tagged(known.text, "blue")


OLD, NEW = "the old secret of the tests", "the new secret of the tests"


@pytest.mark.parametrize("ids", [CorrelationIds(OLD, NEW), CorrelationIds(NEW, OLD)])
@pytest.mark.parametrize("issuer", [CorrelationIds(OLD), CorrelationIds(NEW)])
def test_ids_of_both_keys_are_read_while_the_key_is_being_replaced(ids, issuer):
    text = issuer.issue(NODE, 1_700_000_000_000, owner="blue", keep_s=60)

    assert ids.read(text) == ids.read_for(text, "blue") == issuer.read(text)
    assert not is_for(ids, text, "red")
    assert not is_for(ids, text, "")


def test_new_ids_are_signed_with_the_first_key():
    text = CorrelationIds(NEW, OLD).issue(NODE, 1_700_000_000_000)

    assert is_for(CorrelationIds(NEW), text, "")
    assert not is_for(CorrelationIds(OLD), text, "")
    assert not is_for(CorrelationIds("a third secret of the tests", OLD), text, "")


def test_a_signature_and_an_owner_of_different_keys_do_not_match():
    text = CorrelationIds(NEW).issue(NODE, 1_700_000_000_000, owner="blue")
    nonce = text.split(".")[2][:22]
    tag = SigningKey(OLD).owner_tag(nonce, "red")
    mixed = SigningKey(NEW).sign(f"{NODE}.1700000000000.{nonce}{tag}")

    assert not is_for(CorrelationIds(NEW, OLD), mixed, "red")


@pytest.mark.parametrize(("other", "count"), [("", 1), (NEW, 1), (OLD, 2)])
def test_each_accepted_key_has_a_fingerprint(other, count):
    ids = CorrelationIds(NEW, other)

    assert len(set(ids.fingerprints)) == len(ids.fingerprints) == count
    assert ids.fingerprints[0] == ids.deployment == CorrelationIds(NEW).deployment


def test_an_id_can_contain_the_retention_of_its_reply(ids):
    known = ids.read(ids.issue(NODE, epoch_ms() - 5_000, keep_s=600))

    assert known.keep_ms == 600_000
    assert 590_000 < known.remaining_ms() <= 595_000
    # The longer retention applies.
    assert 590_000 < known.remaining_ms(retention_ms=60_000) <= 595_000
    assert 690_000 < known.remaining_ms(retention_ms=700_000) <= 695_000


@pytest.mark.parametrize("owner", ["", "blue", "x" * 200, "ü"])
@pytest.mark.parametrize("keep_s", [0, 1, MAX_KEEP_S])
def test_an_id_with_owner_and_retention_is_short_and_safe(ids, owner, keep_s):
    text = ids.issue(NODE, 1_700_000_000_000, owner=owner, keep_s=keep_s)

    assert len(text) <= MAX_ID_LENGTH
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)
    known = ids.read(text)
    assert known.keep_ms == keep_s * 1_000
    assert is_for(ids, known.text, owner)


@pytest.mark.parametrize("keep_s", [-1, MAX_KEEP_S + 1])
def test_a_retention_out_of_range_is_refused(ids, keep_s):
    with pytest.raises(ValueError, match="keep_s"):
        ids.issue(NODE, epoch_ms(), keep_s=keep_s)


@pytest.mark.parametrize("options", [{}, {"owner": "blue", "keep_s": 600}])
def test_any_altered_character_makes_an_id_foreign(ids, options):
    text = ids.issue(NODE, epoch_ms(), **options)

    for position, character in enumerate(text):
        other = "0" if character != "0" else "1"
        for read in (ids.read, lambda text: ids.read_for(text, "blue")):
            with pytest.raises(ForeignCorrelationId):
                read(text[:position] + other + text[position + 1 :])


def test_the_owner_of_an_id_cannot_be_exchanged(ids):
    first, second = (
        ids.issue(NODE, 1_700_000_000_000, owner=owner).split(".") for owner in ("red", "blue")
    )

    for third in (first[2][:22] + second[2][22:], second[2][:22] + first[2][22:], second[2][:22]):
        with pytest.raises(ForeignCorrelationId):
            ids.read(".".join([*second[:2], third, second[3]]))


def test_the_id_of_another_owner_is_indistinguishable_from_a_forged_one(ids, monkeypatch):
    """Neither by the error nor by the checks that run."""
    signed, tagged = (
        record_calls(monkeypatch, ids._keys[0], check) for check in ("is_signed", "is_tagged")
    )
    own = ids.issue(NODE, 1_700_000_000_000, owner="red")
    forged = own[:-1] + ("A" if own[-1] != "A" else "B")
    messages = []
    for number, text in enumerate((own, forged), 1):
        with pytest.raises(ForeignCorrelationId) as caught:
            ids.read_for(text, "blue")
        messages.append(str(caught.value))
        assert (len(signed), len(tagged)) == (number, number)

    assert messages[0] == messages[1]


def test_deployments_differ_by_their_secret_key():
    one, same, other = (CorrelationIds(key).deployment for key in ("a" * 16, "a" * 16, "b" * 16))

    assert one == same != other


def test_an_id_is_signed_as_itsdangerous_would(ids):
    """So ids that earlier versions issued stay valid."""
    key = Signer(
        apps.SECRET_KEY,
        b"rendezvous.correlation-id",
        key_derivation="hmac",
        digest_method=sha256,
    ).derive_key()
    signer = Signer(key, b"rendezvous.correlation-id", key_derivation="none", digest_method=sha256)
    text = ids.issue(NODE, 1_700_000_000_000, owner="blue", keep_s=60)

    assert signer.unsign(text).decode() == text.rpartition(".")[0]


def test_ids_are_unique_across_several_draws_of_random_bytes(ids):
    issued = [ids.issue(NODE, 1_700_000_000_000) for _ in range(16 * NONCES_DRAWN)]

    assert len(set(issued)) == len(issued)


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_process_issues_different_ids_than_its_parent(ids):
    ids.issue(NODE, 1_700_000_000_000)  # draws the random part of the next ids too
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write_fd, "\n".join(ids.issue(NODE, 1_700_000_000_000) for _ in range(9)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    of_child = os.read(read_fd, 65_536).decode().split("\n")
    os.close(read_fd)
    os.close(write_fd)
    of_parent = [ids.issue(NODE, 1_700_000_000_000) for _ in range(2 * NONCES_DRAWN)]

    assert len(of_child) == 9
    assert not set(of_child) & set(of_parent)


@pytest.mark.parametrize(("owner", "keep_s"), [("", 0), ("shop", 60), ("", MAX_KEEP_S)])
def test_an_id_says_whether_the_last_of_several_values_is_the_reply(ids, owner, keep_s):
    """In a form that earlier releases accept, and take for an id of a single reply."""
    options = {"owner": owner, "keep_s": keep_s}
    for _ in range(20):
        stream = ids.issue(NODE, 1_700_000_000_000, **options, is_stream=True)
        single = ids.issue(NODE, 1_700_000_000_000, **options)
        assert (ids.read(stream).is_stream, ids.read(single).is_stream) == (True, False)
        assert (is_stream_id(stream), is_stream_id(single)) == (True, False)
        assert ids.read_for(stream, owner).keep_ms == keep_s * 1000
        assert len(stream) == len(single)
    assert not is_stream_id("")
    assert not is_stream_id("a.b.c")
