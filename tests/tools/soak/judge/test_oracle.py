"""Each verdict on a request, and what it takes."""

import base64
from dataclasses import replace

import pytest

from gateway.problems import DOCUMENTED
from tools.soak.judge.oracle import DESIGNED, GOOD, Oracle, Verdict
from tools.soak.judge.windows import Windows
from tools.soak.ledger import Effect
from tools.soak.load.tasks import Task, digest
from tools.soak.records import Happened, LateLook, Seen

SEED, TIMEOUT_S = 7, 3.0
SENT_S = 1_000.0
#: Far from all requests, then around them.
ELSEWHERE = Happened("kill replies", 0, 10.0, 12.0, 10.0, False)
AROUND = Happened("pause kafka", 0, SENT_S + 1, SENT_S + 2, 10.0, False)
OF_WORKERS = Happened("kill worker", 0, SENT_S + 1, SENT_S + 2, 10.0, True)


def task(number):
    return Task(SEED, number, TIMEOUT_S)


def first(condition):
    """Return the first number whose task is of a kind."""
    return next(number for number in range(1, 20_000) if condition(task(number)))


PLAIN = first(lambda t: t.status == 200 and t.delay_s == 0 and len(t.reply(t.body)) > 200)
FAILED = first(lambda t: t.status == 500)
REFUSED = first(lambda t: t.is_refused)
BEYOND = first(lambda t: t.is_beyond_timeout)


def effect(number, correlation_id="id", at_s=SENT_S + 0.1):
    return Effect(number, correlation_id, digest(task(number).body), at_s)


def answered(number=PLAIN, body=None, status=None, **changes):
    """Return what a client saw of the right answer, or of *body* in its place."""
    content = task(number).answer("id") if body is None else body
    return Seen(
        number=number,
        gateway=0,
        sent_s=SENT_S,
        took_s=changes.pop("took_s", 0.2),
        status=status or task(number).status,
        correlation_id=changes.pop("correlation_id", "id"),
        digest=digest(content),
        length=len(content),
        kept="" if body is None else base64.b64encode(body).decode(),
        **changes,
    )


def problem(kind, sent, number=PLAIN, took_s=3.0, status=503):
    return Seen(number, 0, SENT_S, took_s, status, "id", "d", 9, kind, sent)


def broken(error="ConnectionResetError()"):
    return Seen(PLAIN, 0, SENT_S, 1.5, error=error)


def judge(seen, effects=None, faults=(ELSEWHERE,), stored=None):
    if effects is None:
        effects = [effect(seen.number)]
    oracle = Oracle(SEED, TIMEOUT_S, effects, Windows(faults), stored or {})
    return oracle.judge(seen).verdict


@pytest.mark.parametrize("number", [PLAIN, FAILED, REFUSED])
def test_the_expected_answer_is_its_own(number):
    assert judge(answered(number)) is Verdict.OWN


def test_a_fault_excuses_no_answer():
    assert judge(answered(body=task(PLAIN).reply(b"other")), faults=[AROUND]) is Verdict.MIXED_UP


def test_the_answer_to_another_number_is_wrong():
    assert judge(answered(body=task(PLAIN + 1).reply(task(PLAIN + 1).body))) is Verdict.WRONG


def test_its_own_number_with_another_body_is_mixed_up():
    body = task(PLAIN).answer("id")
    assert judge(answered(body=body[:-1] + bytes([body[-1] ^ 1]))) is Verdict.MIXED_UP


def test_its_own_body_with_another_status_is_mixed_up():
    right = task(PLAIN).answer("id")
    assert judge(answered(body=right, status=500)) is Verdict.MIXED_UP


def test_its_own_body_under_the_id_of_another_is_mixed_up():
    assert judge(answered(correlation_id="other")) is Verdict.MIXED_UP


def test_an_answer_that_differs_from_the_stored_reply_is_mixed_up():
    assert judge(answered(), stored={"id": (200, "another digest")}) is Verdict.MIXED_UP
    assert judge(answered(), stored={"id": (200, answered().digest)}) is Verdict.OWN


@pytest.mark.parametrize("length", [0, 1, 150])
def test_the_beginning_of_its_own_answer_is_truncated(length):
    assert judge(answered(body=task(PLAIN).answer("id")[:length])) is Verdict.TRUNCATED


def test_a_body_that_breaks_off_is_truncated():
    assert judge(broken("IncompleteRead(5 bytes read)")) is Verdict.TRUNCATED


def test_an_answer_that_nobody_gave_is_a_lie():
    assert judge(answered(), effects=[]) is Verdict.LIE


@pytest.mark.parametrize("kind", ["not-sent", "overloaded", "shutting-down", "responder-silent"])
def test_sent_no_and_executed_is_a_lie_whatever_the_fault(kind):
    assert judge(problem(kind, "no"), faults=[AROUND]) is Verdict.LIE
    assert judge(problem(kind, "no"), [], [AROUND]) is Verdict.ERROR


@pytest.mark.parametrize(("kind", "sent"), [(k, s) for k, given in DESIGNED.items() for s in given])
def test_an_error_with_a_true_sent_in_a_fault_is_to_be_expected(kind, sent):
    effects = [] if sent == "no" else [effect(PLAIN)]

    assert judge(problem(kind, sent), effects, [AROUND]) is Verdict.ERROR


@pytest.mark.parametrize(
    ("kind", "sent", "status"),
    [
        ("overloaded", "yes", 503),
        ("shutting-down", "unknown", 503),
        ("responder-silent", "yes", 503),
        ("reply-timeout", "no", 503),
        ("not-sent", "yes", 503),
        ("not-sent", "", 503),
        ("reply-timeout", "yes", 504),
        # No reply of the soak is a bad one.
        ("bad-reply", "yes", 502),
        ("unreadable-body", "no", 400),
    ],
)
def test_any_other_error_is_unclassified_even_in_a_fault(kind, sent, status):
    seen = problem(kind, sent, status=status)

    assert judge(seen, [], [AROUND]) is Verdict.UNCLASSIFIED


def test_a_page_of_the_server_is_unclassified():
    seen = answered(body=b"<html>Internal Server Error</html>", status=500)

    assert judge(seen, faults=[AROUND]) is Verdict.UNCLASSIFIED


def test_connections_may_break_when_a_worker_dies():
    assert judge(broken(), faults=[OF_WORKERS]) is Verdict.BROKEN


@pytest.mark.parametrize("faults", [(), (ELSEWHERE,), (AROUND,)])
def test_connections_may_not_break_at_other_times(faults):
    assert judge(broken(), faults=faults) is Verdict.UNCLASSIFIED


def test_an_answer_after_the_timeout_and_a_second_is_too_late():
    assert judge(answered(took_s=4.0)) is Verdict.OWN
    assert judge(answered(took_s=4.01)) is Verdict.TOO_LATE


def test_an_error_is_too_late_as_well_and_no_fault_of_others_excuses_it():
    seen = problem("reply-timeout", "yes", took_s=4.01)

    assert judge(seen, faults=[AROUND]) is Verdict.TOO_LATE


def test_a_client_that_hangs_is_told_too_late():
    assert judge(replace(broken("TimeoutError()"), took_s=15.0), faults=[OF_WORKERS]) is (
        Verdict.TOO_LATE
    )


def test_a_worker_that_is_paused_may_answer_so_much_later():
    paused = replace(AROUND, name="pause worker", healed_s=SENT_S + 3)
    seen = problem("reply-timeout", "yes", took_s=5.5)

    assert judge(seen, faults=[paused]) is Verdict.ERROR
    assert judge(replace(seen, took_s=6.1), faults=[paused]) is Verdict.TOO_LATE


def test_a_timeout_far_from_faults_is_lost_executed_or_not():
    seen = problem("reply-timeout", "yes")

    assert judge(seen) is Verdict.LOST
    assert judge(seen, []) is Verdict.LOST


def test_an_executed_request_with_an_error_far_from_faults_is_lost():
    seen = problem("reply-store-unavailable", "yes", took_s=1.5)

    assert judge(seen, [effect(PLAIN, at_s=SENT_S + 1.0)]) is Verdict.LOST
    assert judge(seen, [effect(PLAIN, at_s=SENT_S + 1.01)]) is Verdict.UNPROVOKED


@pytest.mark.parametrize("kind", ["overloaded", "not-sent", "reply-store-unavailable"])
def test_an_error_far_from_faults_is_unprovoked(kind):
    assert judge(problem(kind, "no"), []) is Verdict.UNPROVOKED


def test_a_request_meant_to_time_out_times_out_by_design():
    assert judge(problem("reply-timeout", "yes", BEYOND)) is Verdict.BY_DESIGN
    assert judge(problem("not-sent", "unknown", BEYOND), []) is Verdict.UNPROVOKED


def test_a_window_ends_ten_seconds_after_healing():
    seen = problem("reply-timeout", "yes")
    healed = replace(AROUND, at_s=SENT_S - 15, healed_s=SENT_S - 9.9)

    assert judge(seen, faults=[healed]) is Verdict.ERROR
    assert judge(seen, faults=[replace(healed, healed_s=SENT_S - 10.1)]) is Verdict.LOST


def test_every_503_of_the_gateway_is_known():
    assert set(DESIGNED) == {kind for kind, problem in DOCUMENTED.items() if problem.status == 503}


def test_only_the_four_are_good():
    assert {Verdict.OWN, Verdict.BY_DESIGN, Verdict.ERROR, Verdict.BROKEN} == GOOD


def judge_late(status, content=b"", kind=""):
    look = LateLook(PLAIN, "id", SENT_S, status, digest(content), kind)
    return Oracle(SEED, TIMEOUT_S, [], Windows([]), {}).judge_late(look)


def test_a_late_reply_is_its_own_or_not_there():
    assert judge_late(200, task(PLAIN).answer("id")) == "reply fetched"
    assert judge_late(202, b"{}") == "pending"
    assert judge_late(410, b"{}", "reply-expired") == "reply-expired"


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [(200, b"another", ""), (404, b"{}", "unknown-reply"), (500, b"", "")],
)
def test_any_other_late_reply_is_wrong(status, content, kind):
    assert judge_late(status, content, kind).startswith("WRONG")


def test_executions_of_what_nobody_sent_are_strangers():
    own, altered, unknown = effect(1), replace(effect(2), digest="another"), effect(3)
    oracle = Oracle(SEED, TIMEOUT_S, [own, altered, unknown], Windows([]), {})

    assert oracle.strangers([1, 2]) == [altered, unknown]


def test_repeated_executions_of_one_id_are_counted():
    effects = [effect(1, "a"), effect(1, "a"), effect(2, "b"), effect(3, "c"), effect(3, "c")]

    assert Oracle(SEED, TIMEOUT_S, effects, Windows([]), {}).repeated() == {2: 2}
