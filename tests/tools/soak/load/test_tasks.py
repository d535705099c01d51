"""What a number means, and who writes it down."""

import pytest

from rendezvous.contract import Request
from responder.registry import HandlerError
from tools.soak.ledger import Effect, Ledger
from tools.soak.load.responder import TaskHandler
from tools.soak.load.tasks import CONTENT_TYPE, Task, digest, number_in
from tools.soak.records import Seen, parse, read, write

MANY = range(1, 4_000)


def task(number):
    return Task(1, number, 3.0)


def request(body, correlation_id="id"):
    return Request(correlation_id, "soak", "replies", 0, body)


def prompt(condition):
    return next(n for n in MANY if task(n).delay_s == 0 and condition(task(n)))


def test_a_task_follows_from_seed_and_number():
    assert (task(5).body, task(5).answer("a")) == (task(5).body, task(5).answer("a"))
    assert task(5).body != Task(2, 5, 3.0).body


def test_no_two_answers_are_alike():
    assert len({digest(task(n).answer("id")) for n in range(1, 500)}) == 499


def test_an_answer_depends_on_every_byte_of_the_request():
    body = task(5).body

    assert task(5).reply(body) != task(5).reply(body[:-1])


def test_bodies_of_all_sizes_come():
    sizes = sorted(len(task(n).body) for n in range(1, 1_000))

    assert sizes[0] < 100
    assert 50 < sum(8_000 <= size <= 13_000 for size in sizes) < 200
    assert 1 <= sum(size >= 150_000 for size in sizes) < 30


def test_delays_and_statuses_of_all_kinds_come():
    delays = [task(n).delay_s for n in MANY]

    assert sum(delay == 0 for delay in delays) > 3_200
    assert sum(0.05 <= delay <= 0.5 for delay in delays) > 300
    assert sum(3.5 <= delay <= 4.5 for delay in delays) in range(1, 12)
    assert {task(n).status for n in MANY} == {200, 404, 409, 418, 422, 500}


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
def test_the_number_is_read_from_the_head_of_a_body(body, number):
    assert number_in(body) == number


@pytest.fixture
def ledger(tmp_path):
    book = Ledger(tmp_path / "ledger.sqlite")
    yield book
    book.close()


def test_the_handler_gives_the_answer_that_is_expected(ledger):
    number = prompt(lambda t: t.status == 409)

    reply = TaskHandler(1, 3.0, ledger)(request(task(number).body))

    assert (reply.status, reply.body) == (409, task(number).answer("id"))
    assert reply.headers == (("content-type", CONTENT_TYPE),)


def test_the_handler_records_what_it_did_before_it_answers(ledger):
    number = prompt(lambda t: t.is_refused)

    with pytest.raises(HandlerError) as raised:
        TaskHandler(1, 3.0, ledger)(request(task(number).body))

    assert raised.value.detail == task(number).refusal
    (effect,) = ledger.effects()
    assert (effect.number, effect.correlation_id) == (number, "id")
    assert effect.digest == digest(task(number).body)


def test_a_foreign_request_is_refused_and_not_recorded(ledger):
    with pytest.raises(HandlerError):
        TaskHandler(1, 3.0, ledger)(request(b"hello"))

    assert ledger.effects() == []


def test_responders_write_one_ledger(ledger, tmp_path):
    other = Ledger(tmp_path / "ledger.sqlite")
    ledger.record(1, "a", "d", 1.5)
    other.record(1, "a", "d", 2.5)
    other.close()

    assert ledger.effects() == [Effect(1, "a", "d", 1.5), Effect(1, "a", "d", 2.5)]


def test_what_clients_saw_is_read_as_it_was_written(tmp_path):
    rows = [Seen(1, 0, 2.5, 0.1, 200, "id", "d", 3, kept="YWJj"), Seen(2, 1, 2.5, 0.1, error="x")]
    with (tmp_path / "log").open("w") as file:
        for row in rows:
            write(file, row)

    assert read(Seen, tmp_path / "log") == rows
    assert rows[0].body == b"abc"
    assert rows[0].answered_s == 2.6
    assert read(Seen, tmp_path / "none") == []


def test_a_line_that_was_cut_off_is_left_out():
    assert list(parse(Seen, ['{"number": 1'])) == []
