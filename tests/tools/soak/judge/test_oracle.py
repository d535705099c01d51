"""The verdict on each kind of exchange."""

import base64
from dataclasses import replace

import pytest

from gateway.problems import DOCUMENTED
from tools.soak.judge.oracle import ACCEPTABLE, EXPECTED_ERRORS, Oracle, Verdict
from tools.soak.judge.windows import Windows
from tools.soak.ledger import Effect
from tools.soak.load.tasks import Extra, Task, digest
from tools.soak.records import Exchange, InjectedFault, LateFetch

SEED, TIMEOUT_S = 7, 3.0
SENT_S = 1_000.0
#: Faults away from all requests, and around them.
DISTANT = InjectedFault("kill replies", 0, 10.0, 12.0, 10.0, False)
AROUND = InjectedFault("pause kafka", 0, SENT_S + 1, SENT_S + 2, 10.0, False)
WORKER_KILLED = InjectedFault("kill worker", 0, SENT_S + 1, SENT_S + 2, 10.0, True)


def task(number):
    return Task(SEED, number, TIMEOUT_S)


def first(condition):
    """Return the first number whose task fulfils *condition*."""
    return next(number for number in range(1, 20_000) if condition(task(number)))


PLAIN = first(lambda t: t.status == 200 and t.delay_s == 0 and len(t.reply_body(t.body)) > 200)
FAILED = first(lambda t: t.status == 500)
REFUSED = first(lambda t: t.is_refused)
DIFFERENT = first(lambda t: t.extra is Extra.DIFFERENT)
ASTRAY = first(lambda t: t.extra is Extra.ASTRAY)
BEYOND = first(lambda t: t.is_beyond_timeout)


def effect(number, correlation_id="id", at_s=SENT_S + 0.1):
    return Effect(number, correlation_id, digest(task(number).body), at_s)


def responded(number=PLAIN, body=None, status=None, **changes):
    """Return an exchange with the correct response, or with *body* instead."""
    content = task(number).response_body("id") if body is None else body
    return Exchange(
        number=number,
        gateway=0,
        sent_s=SENT_S,
        took_s=changes.pop("took_s", 0.2),
        status=status or task(number).status,
        correlation_id=changes.pop("correlation_id", "id"),
        digest=digest(content),
        length=len(content),
        unexpected_body="" if body is None else base64.b64encode(body).decode(),
        **changes,
    )


def problem(kind, sent, number=PLAIN, took_s=3.0, status=503):
    return Exchange(number, 0, SENT_S, took_s, status, "id", "d", 9, kind, sent)


def broken(error="ConnectionResetError()"):
    return Exchange(PLAIN, 0, SENT_S, 1.5, error=error)


def judge(seen, effects=None, faults=(DISTANT,), stored=None):
    if effects is None:
        effects = [effect(seen.number)]
    oracle = Oracle(SEED, TIMEOUT_S, effects, Windows(faults), stored or {})
    return oracle.judge(seen).verdict


@pytest.mark.parametrize("number", [PLAIN, FAILED, REFUSED])
def test_the_expected_response_is_correct(number):
    assert judge(responded(number)) is Verdict.CORRECT


def test_a_fault_does_not_excuse_an_incorrect_response():
    assert judge(responded(body=task(PLAIN).reply_body(b"other")), faults=[AROUND]) is Verdict.MIXED


def test_the_response_to_another_request_is_wrong():
    assert judge(responded(body=task(PLAIN + 1).reply_body(task(PLAIN + 1).body))) is Verdict.WRONG


def test_the_right_number_with_another_body_is_mixed():
    body = task(PLAIN).response_body("id")
    assert judge(responded(body=body[:-1] + bytes([body[-1] ^ 1]))) is Verdict.MIXED


def test_the_right_body_with_another_status_is_mixed():
    right = task(PLAIN).response_body("id")
    assert judge(responded(body=right, status=500)) is Verdict.MIXED


def test_the_right_body_under_another_id_is_mixed():
    assert judge(responded(correlation_id="other")) is Verdict.MIXED


def test_a_response_that_differs_from_the_stored_reply_is_mixed():
    assert judge(responded(), stored={"id": (200, "another digest")}) is Verdict.MIXED
    assert judge(responded(), stored={"id": (200, responded().digest)}) is Verdict.CORRECT


def test_either_of_two_different_replies_is_correct_and_redis_may_have_the_other():
    body = task(DIFFERENT).different_body
    other = (200, digest(body))
    main = (task(DIFFERENT).status, responded(DIFFERENT).digest)

    assert judge(responded(DIFFERENT), stored={"id": other}) is Verdict.CORRECT
    assert judge(responded(DIFFERENT, body, 200), stored={"id": main}) is Verdict.CORRECT
    assert judge(responded(DIFFERENT), stored={"id": (200, "a third")}) is Verdict.MIXED


def test_two_equal_replies_excuse_no_other_response():
    body = task(ASTRAY).different_body
    assert judge(responded(ASTRAY, body, 200)) is Verdict.MIXED


@pytest.mark.parametrize("length", [0, 1, 150])
def test_the_start_of_the_right_body_is_truncated(length):
    assert judge(responded(body=task(PLAIN).response_body("id")[:length])) is Verdict.TRUNCATED


def test_an_incomplete_read_is_truncated():
    assert judge(broken("IncompleteRead(5 bytes read)")) is Verdict.TRUNCATED


def test_a_response_without_an_execution_is_a_contradiction():
    assert judge(responded(), effects=[]) is Verdict.CONTRADICTION


@pytest.mark.parametrize("kind", ["not-sent", "overloaded", "shutting-down", "responder-silent"])
def test_sent_no_and_executed_is_a_contradiction_even_during_a_fault(kind):
    assert judge(problem(kind, "no"), faults=[AROUND]) is Verdict.CONTRADICTION
    assert judge(problem(kind, "no"), [], [AROUND]) is Verdict.ERROR


@pytest.mark.parametrize(
    ("kind", "sent"), [(k, s) for k, given in EXPECTED_ERRORS.items() for s in given]
)
def test_an_error_with_a_true_sent_is_expected_during_a_fault(kind, sent):
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
        # The soak has no invalid replies.
        ("bad-reply", "yes", 502),
        ("unreadable-body", "no", 400),
    ],
)
def test_any_other_error_is_unclassified_even_during_a_fault(kind, sent, status):
    seen = problem(kind, sent, status=status)

    assert judge(seen, [], [AROUND]) is Verdict.UNCLASSIFIED


def test_an_error_page_is_unclassified():
    seen = responded(body=b"<html>Internal Server Error</html>", status=500)

    assert judge(seen, faults=[AROUND]) is Verdict.UNCLASSIFIED


def test_connections_may_break_when_a_worker_is_killed():
    assert judge(broken(), faults=[WORKER_KILLED]) is Verdict.BROKEN


@pytest.mark.parametrize("faults", [(), (DISTANT,), (AROUND,)])
def test_connections_may_not_break_at_other_times(faults):
    assert judge(broken(), faults=faults) is Verdict.UNCLASSIFIED


def test_a_response_over_a_second_after_the_timeout_is_too_late():
    assert judge(responded(took_s=4.0)) is Verdict.CORRECT
    assert judge(responded(took_s=4.01)) is Verdict.TOO_LATE


def test_a_late_error_is_too_late_even_during_a_fault():
    seen = problem("reply-timeout", "yes", took_s=4.01)

    assert judge(seen, faults=[AROUND]) is Verdict.TOO_LATE


def test_a_client_timeout_is_too_late():
    assert judge(replace(broken("TimeoutError()"), took_s=15.0), faults=[WORKER_KILLED]) is (
        Verdict.TOO_LATE
    )


def test_the_pause_of_a_worker_extends_the_limit():
    paused = replace(AROUND, name="pause worker", healed_s=SENT_S + 3)
    seen = problem("reply-timeout", "yes", took_s=5.5)

    assert judge(seen, faults=[paused]) is Verdict.ERROR
    assert judge(replace(seen, took_s=6.1), faults=[paused]) is Verdict.TOO_LATE


def test_a_timeout_without_a_fault_is_a_lost_reply():
    seen = problem("reply-timeout", "yes")

    assert judge(seen) is Verdict.LOST
    assert judge(seen, []) is Verdict.LOST


def test_an_error_without_a_fault_after_an_early_execution_is_a_lost_reply():
    seen = problem("reply-store-unavailable", "yes", took_s=1.5)

    assert judge(seen, [effect(PLAIN, at_s=SENT_S + 1.0)]) is Verdict.LOST
    assert judge(seen, [effect(PLAIN, at_s=SENT_S + 1.01)]) is Verdict.UNPROVOKED


@pytest.mark.parametrize("kind", ["overloaded", "not-sent", "reply-store-unavailable"])
def test_an_error_without_a_fault_is_unprovoked(kind):
    assert judge(problem(kind, "no"), []) is Verdict.UNPROVOKED


def test_the_timeout_of_a_slow_handler_is_by_design():
    for kind in ("reply-timeout", "reply-store-unavailable"):
        assert judge(problem(kind, "yes", BEYOND)) is Verdict.BY_DESIGN
    assert judge(problem("not-sent", "unknown", BEYOND), []) is Verdict.UNPROVOKED


def test_a_window_ends_ten_seconds_after_healing():
    seen = problem("reply-timeout", "yes")
    healed = replace(AROUND, at_s=SENT_S - 15, healed_s=SENT_S - 9.9)

    assert judge(seen, faults=[healed]) is Verdict.ERROR
    assert judge(seen, faults=[replace(healed, healed_s=SENT_S - 10.1)]) is Verdict.LOST


def test_every_503_of_the_gateway_is_an_expected_error():
    assert set(EXPECTED_ERRORS) == {
        kind for kind, problem in DOCUMENTED.items() if problem.status == 503
    }


def test_four_verdicts_are_acceptable():
    assert {Verdict.CORRECT, Verdict.BY_DESIGN, Verdict.ERROR, Verdict.BROKEN} == ACCEPTABLE


def judge_late_fetch(status, content=b"", kind=""):
    fetch = LateFetch(PLAIN, "id", SENT_S, status, digest(content), kind)
    return Oracle(SEED, TIMEOUT_S, [], Windows([]), {}).judge_late_fetch(fetch)


def test_a_late_reply_is_correct_pending_or_expired():
    assert judge_late_fetch(200, task(PLAIN).response_body("id")) == "reply fetched"
    assert judge_late_fetch(202, b"{}") == "pending"
    assert judge_late_fetch(410, b"{}", "reply-expired") == "reply-expired"


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [(200, b"another", ""), (404, b"{}", "unknown-reply"), (500, b"", "")],
)
def test_any_other_late_reply_is_wrong(status, content, kind):
    assert judge_late_fetch(status, content, kind).startswith("WRONG")


def test_executions_of_requests_no_client_sent_are_unknown():
    own, altered, unknown = effect(1), replace(effect(2), digest="another"), effect(3)
    oracle = Oracle(SEED, TIMEOUT_S, [own, altered, unknown], Windows([]), {})

    assert oracle.unknown_effects([1, 2]) == [altered, unknown]


def test_repeated_executions_of_one_id_are_counted():
    effects = [effect(1, "a"), effect(1, "a"), effect(2, "b"), effect(3, "c"), effect(3, "c")]

    assert Oracle(SEED, TIMEOUT_S, effects, Windows([]), {}).repeated() == {2: 2}
