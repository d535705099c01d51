"""Tasks, the handler that executes them, and the logs."""

import pytest

from rendezvous.contract import Request
from responder.registry import HandlerError
from tools.soak.ledger import Effect, Ledger
from tools.soak.load.responder import TaskHandler
from tools.soak.load.tasks import CONTENT_TYPE, Task, digest, number_in
from tools.soak.records import Exchange, parse, read, write

NUMBERS = range(1, 4_000)


def task(number):
    return Task(1, number, 3.0)


def request(body, correlation_id="id"):
    return Request(correlation_id, "soak", "replies", 0, body)


def immediate(condition):
    return next(n for n in NUMBERS if task(n).delay_s == 0 and condition(task(n)))


def test_seed_and_number_determine_a_task():
    assert (task(5).body, task(5).response_body("a")) == (task(5).body, task(5).response_body("a"))
    assert task(5).body != Task(2, 5, 3.0).body


def test_responses_are_unique():
    assert len({digest(task(n).response_body("id")) for n in range(1, 500)}) == 499


def test_a_reply_depends_on_the_whole_request_body():
    body = task(5).body

    assert task(5).reply_body(body) != task(5).reply_body(body[:-1])


def test_bodies_of_all_sizes_occur():
    sizes = sorted(len(task(n).body) for n in range(1, 1_000))

    assert sizes[0] < 100
    assert 50 < sum(8_000 <= size <= 13_000 for size in sizes) < 200
    assert 1 <= sum(size >= 150_000 for size in sizes) < 30


def test_all_delays_and_statuses_occur():
    delays = [task(n).delay_s for n in NUMBERS]

    assert sum(delay == 0 for delay in delays) > 3_200
    assert sum(0.05 <= delay <= 0.5 for delay in delays) > 300
    assert sum(3.5 <= delay <= 4.5 for delay in delays) in range(1, 12)
    assert {task(n).status for n in NUMBERS} == {200, 404, 409, 418, 422, 500}


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b"17\nx", 17),
        (b"17 abc\nx", 17),
        (b"17", 17),
        (b"", None),
        (b"x17\n", None),
        (b"{}", None),
        (b"1" * 50, None),
    ],
)
def test_the_number_is_read_from_the_start_of_a_body(body, number):
    assert number_in(body) == number


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def test_the_handler_returns_the_expected_reply(ledger):
    number = immediate(lambda t: t.status == 409)

    reply = TaskHandler(1, 3.0, ledger)(request(task(number).body))

    assert (reply.status, reply.body) == (409, task(number).response_body("id"))
    assert reply.headers == (("content-type", CONTENT_TYPE),)


def test_the_handler_records_an_execution_before_it_raises(ledger):
    number = immediate(lambda t: t.is_refused)

    with pytest.raises(HandlerError) as raised:
        TaskHandler(1, 3.0, ledger)(request(task(number).body))

    assert raised.value.detail == task(number).refusal
    (effect,) = ledger.effects()
    assert (effect.number, effect.correlation_id) == (number, "id")
    assert effect.digest == digest(task(number).body)


def test_a_request_without_a_number_is_rejected_and_not_recorded(ledger):
    with pytest.raises(HandlerError):
        TaskHandler(1, 3.0, ledger)(request(b"hello"))

    assert ledger.effects() == []


def test_responders_share_a_ledger(ledger, tmp_path):
    other = Ledger(tmp_path / "ledger.sqlite")
    ledger.record(1, "a", "d", 1.5)
    other.record(1, "a", "d", 2.5)
    other.close()

    assert ledger.effects() == [Effect(1, "a", "d", 1.5), Effect(1, "a", "d", 2.5)]


def test_exchanges_are_read_as_written(tmp_path):
    rows = [
        Exchange(1, 0, 2.5, 0.1, 200, "id", "d", 3, unexpected_body="YWJj"),
        Exchange(2, 1, 2.5, 0.1, error="x"),
    ]
    with (tmp_path / "log").open("w") as file:
        for row in rows:
            write(file, row)

    assert read(Exchange, tmp_path / "log") == rows
    assert rows[0].body == b"abc"
    assert rows[0].ended_s == 2.6
    assert read(Exchange, tmp_path / "none") == []


def test_an_incomplete_line_is_ignored():
    assert list(parse(Exchange, ['{"number": 1'])) == []
