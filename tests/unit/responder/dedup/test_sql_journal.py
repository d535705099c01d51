"""SqlJournal: effect and reply are committed in one transaction or not at all."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from rendezvous.contract import NO_DEADLINE_MS, Reply, Request
from rendezvous.correlation import epoch_ms
from responder.dedup.sql_journal import CREATE_TABLE_POSTGRES, CREATE_TABLE_SQLITE, SqlJournal
from responder.registry import HandlerError
from tests.fakes import raising

REQUEST = Request("the-id", "orders", "replies", 1_000)


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def database(tmp_path):
    file = tmp_path / "effects.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(CREATE_TABLE_SQLITE)
        connection.execute("CREATE TABLE effects (correlation_id TEXT)")
    return file


@pytest.fixture
def connection(database):
    with closing(sqlite3.connect(database)) as opened:
        yield opened


def effects(database):
    with closing(sqlite3.connect(database)) as other:
        return other.execute("SELECT count(*) FROM effects").fetchone()[0]


def rows(database):
    with closing(sqlite3.connect(database)) as other:
        return other.execute("SELECT count(*) FROM answered_requests").fetchone()[0]


def effect(connection, body=b"first", then=None):
    """Return a function with one effect that calls *then* at the end."""

    def run():
        connection.execute("INSERT INTO effects VALUES (?)", (REQUEST.correlation_id,))
        if then is not None:
            then()
        return Reply.to(REQUEST, body, status=201, content_type="text/plain")

    return run


def test_the_first_delivery_has_an_effect_and_the_second_gets_the_same_reply(database, connection):
    journal = SqlJournal(connection)
    first = journal.once(REQUEST, effect(connection))
    second = journal.once(REQUEST, effect(connection, b"second"))

    assert first == second == Reply("the-id", b"first", 201, (("content-type", "text/plain"),))
    assert effects(database) == 1
    assert not connection.in_transaction


def test_a_request_without_a_deadline_is_forgotten_after_a_day(database, connection):
    journal = SqlJournal(connection)
    event = Request("the-id", "orders", "", NO_DEADLINE_MS)
    journal.once(event, effect(connection))
    journal.forget(epoch_ms() + 86_000_000)
    assert rows(database) == 1
    journal.forget(epoch_ms() + 87_000_000)
    assert rows(database) == 0


def test_another_correlation_id_is_another_request(database, connection):
    other = Request("other-id", "orders", "replies", 1_000)
    SqlJournal(connection).once(REQUEST, effect(connection))
    SqlJournal(connection).once(other, effect(connection))

    assert effects(database) == 2


@pytest.mark.parametrize("end", [RuntimeError("a bug"), SystemExit(1), Killed()])
def test_an_exception_rolls_everything_back_and_the_next_delivery_is_handled(
    database, connection, end
):
    with pytest.raises(type(end)):
        SqlJournal(connection).once(REQUEST, effect(connection, then=raising(end)))
    after_the_first = (effects(database), rows(database), connection.in_transaction)
    reply = SqlJournal(connection).once(REQUEST, effect(connection))

    assert after_the_first == (0, 0, False)
    assert reply.body == b"first"
    assert effects(database) == 1


def test_a_connection_lost_before_the_commit_leaves_nothing(database):
    lost = sqlite3.connect(database)
    with pytest.raises(sqlite3.ProgrammingError):
        SqlJournal(lost).once(REQUEST, effect(lost, then=lost.close))

    assert (effects(database), rows(database)) == (0, 0)


def test_a_handler_error_rolls_back_the_effect_and_answers_every_delivery(database, connection):
    sold_out = raising(HandlerError(409, "sold out"))
    first = SqlJournal(connection).once(REQUEST, effect(connection, then=sold_out))
    second = SqlJournal(connection).once(REQUEST, effect(connection))

    assert first == second
    assert first.status == 409
    assert b"sold out" in first.body
    assert effects(database) == 0


def test_one_of_many_concurrent_deliveries_is_handled_and_all_get_its_reply(database):
    deliveries = 6
    all_ready = threading.Barrier(deliveries)

    def deliver(number):
        with closing(sqlite3.connect(database, timeout=20)) as connection:
            all_ready.wait(10)
            body = b"%d" % number
            return SqlJournal(connection).once(REQUEST, effect(connection, body)).body

    with ThreadPoolExecutor(deliveries) as threads:
        bodies = list(threads.map(deliver, range(deliveries)))

    assert len(set(bodies)) == 1
    assert effects(database) == 1


def test_a_second_delivery_waits_for_the_first_and_takes_over_when_it_fails(database):
    begun, proceed, replies = threading.Event(), threading.Event(), []

    def first():
        with closing(sqlite3.connect(database)) as own, pytest.raises(RuntimeError):
            SqlJournal(own).once(REQUEST, effect(own, b"first", then=fail_later))

    def fail_later():
        begun.set()
        proceed.wait(10)
        raise RuntimeError("a bug")

    def second():
        with closing(sqlite3.connect(database, timeout=20)) as own:
            replies.append(SqlJournal(own).once(REQUEST, effect(own, b"second")))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.3)
    waited = threads[1].is_alive() and replies == []
    proceed.set()
    for thread in threads:
        thread.join(20)

    assert waited
    assert [reply.body for reply in replies] == [b"second"]
    assert effects(database) == 1


def test_an_effect_that_commits_is_not_repeated_and_is_reported(database, connection):
    def commit_and_die():
        connection.commit()
        raise Killed

    with pytest.raises(Killed):
        SqlJournal(connection).once(REQUEST, effect(connection, then=commit_and_die))
    with pytest.raises(RuntimeError, match="the-id was begun and its reply never saved"):
        SqlJournal(connection).once(REQUEST, effect(connection))

    assert effects(database) == 1


def test_a_missing_table_is_not_taken_for_a_redelivery(tmp_path):
    with closing(sqlite3.connect(tmp_path / "empty.sqlite")) as connection:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            SqlJournal(connection).once(REQUEST, lambda: Reply.to(REQUEST))
        assert not connection.in_transaction


def test_a_locked_database_is_not_taken_for_a_redelivery(database):
    with closing(sqlite3.connect(database)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        with (
            closing(sqlite3.connect(database, timeout=0)) as connection,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            SqlJournal(connection).once(REQUEST, effect(connection))


def test_old_requests_are_deleted_by_their_deadline(database, connection):
    journal = SqlJournal(connection)
    for number in range(4):
        journal.once(
            Request(f"id-{number}", "orders", "replies", 1_000 * number), effect(connection)
        )
    journal.forget(before_ms=2_000)

    assert rows(database) == 2
    assert effects(database) == 4


def test_a_connection_with_autocommit_is_refused(database):
    class Driver:
        autocommit = True

    with closing(sqlite3.connect(database, isolation_level=None)) as without_transactions:
        for connection in (without_transactions, Driver()):
            with pytest.raises(ValueError, match="autocommit"):
                SqlJournal(connection)


class PercentDriver:
    """A driver with %s, its own errors, and transactions that accept nothing after an error."""

    class IntegrityError(Exception):
        pass

    class UniqueViolation(IntegrityError):
        pass

    def __init__(self, connection):
        self._connection = connection
        self.statements = []
        self.commit = connection.commit
        self._failed = False

    def rollback(self):
        self._failed = False
        self._connection.rollback()

    def cursor(self):
        return self

    def execute(self, statement, parameters):
        assert "?" not in statement
        assert not self._failed, "current transaction is aborted"
        self.statements.append(statement)
        try:
            self._found = self._connection.execute(statement.replace("%s", "?"), parameters)
        except sqlite3.IntegrityError as error:
            self._failed = True
            raise self.UniqueViolation from error

    def fetchone(self):
        row = self._found.fetchone()
        return row and tuple(map(memoryview, row))  # as psycopg2 returns bytes


def test_drivers_with_other_placeholders_and_errors_work(database, connection):
    driver = PercentDriver(connection)
    journal = SqlJournal(driver, placeholder="%s")
    first = journal.once(REQUEST, effect(connection))
    second = journal.once(REQUEST, effect(connection, b"second"))

    assert first == second
    assert effects(database) == 1
    assert any("%s" in statement for statement in driver.statements)


def test_the_two_tables_differ_only_in_the_type_of_bytes():
    assert CREATE_TABLE_POSTGRES.replace("BYTEA", "BLOB") == CREATE_TABLE_SQLITE
    assert "BYTEA" in CREATE_TABLE_POSTGRES


def counted_effect(connection, request):
    def run():
        connection.execute("INSERT INTO effects VALUES (?)", (request.correlation_id,))
        return Reply.to(request, b"done")

    return run


def test_an_id_that_another_requester_uses_again_has_an_effect_of_its_own(database, connection):
    journal = SqlJournal(connection)
    headers = [("correlation_id", b"1"), ("reply_to", b"replies")]
    requests = [
        Request.decode("orders", None, b"", headers, sent_ms=sent_ms, default_deadline_ms=1_000)
        for sent_ms in (1, 1, 2)
    ]
    for request in requests:
        reply = journal.once(request, counted_effect(connection, request))
        assert (reply.correlation_id, reply.body) == ("1", b"done")

    assert effects(database) == 2
