"""The accounts of the soak: which outcomes of a record break a promise."""

import pytest

from tools.soak.dead_letters.accounts import Accounts, Letter, Sent, out_of_order
from tools.soak.dead_letters.events import Did, Event
from tools.soak.dead_letters.fates import MAX_ATTEMPTS, Fate, fate_of, retries_of
from tools.soak.dead_letters.load import Response

PID, CID = 7, "an id"


def sent(fate=Fate.ANSWERED):
    return Sent(0, 5, CID, fate)


def letter(reason="handler-failed", time_ms=1):
    return Letter(0, 5, time_ms, reason)


def events(*dids, pid=PID, cid=CID, offset=5, key="a"):
    return [
        Event(pid, did, cid, 0, offset, key) if did is Did.TOOK else Event(pid, did, cid)
        for did in dids
    ]


def accounts(one, *dids, answered=0, letters=(), status=0, title=""):
    responses = [Response(1, CID, status, title)] if status else []
    return Accounts([one], [CID] * answered, letters, events(*dids), responses)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (accounts(sent(), Did.TOOK, Did.ANSWERED, answered=1, status=200), "answered"),
        (accounts(sent(), Did.TOOK, Did.EXPIRED), "expired"),
        (
            accounts(sent(Fate.FAILED), Did.TOOK, Did.FAILED, letters=[letter()], status=500),
            "dead-lettered",
        ),
        (
            # A copy, since an acknowledgement was lost.
            accounts(sent(Fate.FAILED), Did.TOOK, Did.FAILED, letters=[letter(), letter()]),
            "dead-lettered",
        ),
        (
            accounts(
                sent(Fate.FAILED),
                *(Did.TOOK, Did.FAILED) * 2,
                letters=[letter(time_ms=1), letter(time_ms=2)],
            ),
            "dead-lettered",
        ),
        (
            accounts(sent(), Did.TOOK, Did.ANSWERED, Did.TOOK, Did.EXPIRED, answered=1),
            "answered + expired",
        ),
        (
            accounts(
                sent(Fate.EXHAUSTED),
                *(Did.TOOK, Did.RETRIED, Did.RETRIED, Did.RETRIED),
                letters=[letter("retries-exhausted")],
                status=503,
                title="Try again later",
            ),
            "dead-lettered",
        ),
        (accounts(sent(Fate.MALFORMED), Did.TOOK, letters=[letter("malformed")]), "dead-lettered"),
    ],
)
def test_a_promised_outcome_is_no_failure(found, outcome):
    assert list(found.failures()) == []
    assert found.outcomes == {outcome: 1}


@pytest.mark.parametrize(
    ("found", "failure"),
    [
        (accounts(sent(), Did.TOOK, Did.ANSWERED), "LOST"),
        (accounts(sent(Fate.MALFORMED), Did.TOOK), "LOST"),
        (accounts(sent(Fate.FAILED), Did.TOOK, Did.ANSWERED, answered=1), "WRONG"),
        (accounts(sent(), Did.TOOK, Did.FAILED, letters=[letter()]), "WRONG"),
        (accounts(sent(Fate.FAILED), Did.TOOK, letters=[letter("malformed")]), "WRONG"),
        (accounts(sent(Fate.FAILED), Did.TOOK, letters=[letter(), letter(time_ms=2)]), "TWICE"),
        (accounts(sent(), Did.TOOK, Did.ANSWERED, Did.EXPIRED, answered=1), "TWICE"),
        (
            accounts(
                sent(Fate.RETRIED),
                *(Did.TOOK, Did.RETRIED, Did.ANSWERED),
                answered=1,
                letters=[letter("retries-exhausted")],
            ),
            "TWICE",
        ),
        (accounts(sent(), Did.TOOK, Did.EXPIRED, status=200), "CONTRADICTION"),
        (accounts(sent(Fate.FAILED), Did.TOOK, Did.EXPIRED, status=500), "CONTRADICTION"),
        (Accounts([], [], [letter()], [], []), "UNKNOWN"),
    ],
)
def test_a_broken_promise_is_a_failure(found, failure):
    assert {line.partition(":")[0] for line in found.failures()} == {failure}


def test_requests_of_one_key_in_order_are_no_failure():
    first = events(Did.TOOK, cid="a", offset=1), events(Did.RETRIED, cid="a")
    second = events(Did.TOOK, cid="b", offset=2), events(Did.ANSWERED, cid="b")
    again = events(Did.ANSWERED, cid="a")
    other = events(Did.TOOK, cid="c", offset=0, key="other") + events(Did.ANSWERED, cid="c")

    assert list(out_of_order([*first[0], *second[0], *first[1], *other, *again, *second[1]])) == []
    # Another process, and a record that is delivered again.
    assert list(out_of_order([*second[0], *second[1], *events(Did.TOOK, pid=8, cid="a")])) == []
    redelivered = [*first[0], *again, *second[0], *second[1], *first[0], *again]
    assert list(out_of_order(redelivered)) == []


def test_a_request_before_or_between_the_attempts_of_an_earlier_one_is_a_failure():
    first, second = events(Did.TOOK, cid="a", offset=1), events(Did.TOOK, cid="b", offset=2)
    retried, answered = events(Did.RETRIED, cid="a"), events(Did.ANSWERED, cid="a")
    behind = events(Did.ANSWERED, cid="b")

    overtaken = list(out_of_order([*first, *second, *behind, *answered]))
    between = list(out_of_order([*first, *second, *retried, *behind, *answered]))
    assert len(overtaken) == 1
    assert "was handled after" in overtaken[0]
    assert any("had another attempt after" in line for line in between)


def test_every_fate_occurs_and_is_the_same_for_everybody():
    fates = {fate_of(1, number) for number in range(200)}

    assert fates == set(Fate) - {Fate.MALFORMED}
    for number in range(200):
        retries = retries_of(1, number)
        assert (retries > 0) == (fate_of(1, number) in (Fate.RETRIED, Fate.EXHAUSTED))
        assert (retries == MAX_ATTEMPTS) == (fate_of(1, number) is Fate.EXHAUSTED)
