"""
Model of the reply store, run by hypothesis against a store on a real Redis.

Replies are written to a topic, stored by the real listener, which may crash before it commits, and
fetched. Time passes by moving our clock and the expiry of every key. Real time passes as well, so
every time is bounded from both sides.
"""

import threading
from collections import Counter
from dataclasses import dataclass
from unittest import mock

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from kafka import TopicPartition
from redis import Redis

from rendezvous import correlation
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationId, CorrelationIds
from rendezvous.errors import ForeignCorrelationId, UnusableReply
from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.redis_store.heartbeats import HEARTBEAT_TTL_S, ReplyPathHeartbeats
from rendezvous.redis_store.replies import MIN_TTL_MS, ReplyStore, reply_key
from replies.listener import ReplyListener
from tests.fakes import EndingConsumer, FakeRecord, altered

RETENTION_MS = 1_500
PARTITION = TopicPartition("replies", 0)
#: Difference of the clocks of Redis and of this process by rounding, in ms.
TOLERANCE_MS = 5

own_ids = CorrelationIds("the secret key of the model")
foreign_ids = CorrelationIds("the secret key of another deployment")

due = st.sampled_from([-2_000, -1_000, -1, 1, 400, 1_000, 3_000])
passing = st.sampled_from([1, 300, 900, 1_100, 2_000, 10_000])
bodies = st.sampled_from([b"", b"one", b"two", b"\x00\n\xff\n"])


@dataclass(frozen=True)
class Kept:
    """A stored reply, and when it expires at the earliest and at the latest (Unix time in ms)."""

    reply: Reply
    earliest_ms: int
    latest_ms: int


class StoreModel(RuleBasedStateMachine):
    """
    The model.

    Args:
        redis: a client that returns bytes, of a database that nothing else uses.
    """

    issued: Bundle[CorrelationId] = Bundle("issued")

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self.redis = redis
        self.redis.flushdb()
        self.store = ReplyStore(redis, RETENTION_MS / 1000)
        self.kept: dict[str, Kept] = {}
        self.topic: list[FakeRecord] = []
        self.committed = 0
        self.ahead_ms = 0
        real_ms = correlation.epoch_ms

        def moved_ms() -> int:
            return real_ms() + self.ahead_ms

        self.clock = mock.patch.object(correlation, "epoch_ms", moved_ms)
        self.clock.start()

    def teardown(self) -> None:
        self.clock.stop()

    # Rules

    @rule(target=issued, node=st.sampled_from(["0a1b2c3d", "ffffffff"]), due_ms=due)
    def a_request_is_registered(self, node: str, due_ms: int) -> CorrelationId:
        return own_ids.read(own_ids.issue(node, self._now_ms() + due_ms))

    @rule(cid=issued, body=bodies, status=st.sampled_from([200, 201, 404, 503]))
    def a_reply_is_written(self, cid: CorrelationId, body: bytes, status: int) -> None:
        self._write(*Reply(cid.text, body, status, (("x-a", "1"),)).encode())

    @rule(cid=issued)
    def an_unusable_reply_is_written(self, cid: CorrelationId) -> None:
        self._write(b"", [("correlation-id", cid.text.encode()), ("status", b"42")])

    @rule(cid=issued, kind=st.sampled_from(["altered", "foreign", "without id"]))
    def a_record_without_our_id_is_written(self, cid: CorrelationId, kind: str) -> None:
        text = {
            "altered": altered(cid.text),
            "foreign": foreign_ids.issue(cid.node, cid.deadline_ms),
            "without id": "",
        }[kind]
        self._write(b"body", [("correlation-id", text.encode())] if text else [])

    @rule(crashes=st.booleans())
    def the_replies_process_runs(self, crashes: bool) -> None:
        """It reads from its last commit; after a crash the next run reads the records again."""
        batch = self.topic[self.committed :]
        stop = threading.Event()
        consumer = EndingConsumer(PARTITION, stop)
        if batch:
            consumer.feed(*batch)
        listener = ReplyListener(
            ResilientConsumer(consumer),
            self.store,
            own_ids,
            mock.Mock(),
            ReplyPathHeartbeats(self.redis, "replies", ("aa",)),
            max_reply_bytes=900_000,
        )
        before_ms = self._now_ms()
        listener.run(stop)
        after_ms = self._now_ms()

        expected = Counter(
            outcome for record in batch for outcome in self._outcomes(record, before_ms, after_ms)
        )
        assert +listener.counts == +expected
        if not crashes:
            assert consumer.committed_offset(PARTITION) == (len(self.topic) if batch else None)
            self.committed = len(self.topic)

    @rule(ms=passing)
    def time_passes(self, ms: int) -> None:
        for key in self.redis.scan_iter():
            expiry_ms = self.redis.pexpiretime(key)
            if expiry_ms > 0:
                self.redis.pexpireat(key, expiry_ms - ms)
        self.ahead_ms += ms

    @rule()
    def redis_is_emptied(self) -> None:
        self.redis.flushdb()
        self.kept.clear()

    @rule(ids=st.lists(issued, max_size=5))
    def several_are_fetched(self, ids: list[CorrelationId]) -> None:
        before_ms = self._now_ms()
        found = self.store.fetch_many([cid.text for cid in ids])
        after_ms = self._now_ms()

        for cid in ids:
            kept = self.kept.get(cid.text)
            if self._is_there(kept, before_ms, after_ms):
                assert kept is not None
                assert found.pop(cid.text, kept.reply) == kept.reply
            else:
                assert cid.text not in found

    @rule(cid=consumes(issued))
    def one_is_fetched_for_the_last_time(self, cid: CorrelationId) -> None:
        before_ms = self._now_ms()
        found, over = self.store.fetch(cid.text), self.store.is_over(cid)
        after_ms = self._now_ms()

        kept = self.kept.get(cid.text)
        assert found == (kept.reply if kept and self._is_there(kept, before_ms, after_ms) else None)
        assert over == (not self._is_live(cid, before_ms, after_ms))

    # Invariant

    @invariant()
    def nothing_else_is_stored_and_everything_expires(self) -> None:
        before_ms = self._now_ms()
        expiries = {
            key.decode(): self.redis.pexpiretime(key) + self.ahead_ms
            for key in self.redis.scan_iter()
        }
        after_ms = self._now_ms()
        for heartbeat in [key for key in expiries if key.startswith("served:{replies}")]:
            assert expiries.pop(heartbeat) <= after_ms + HEARTBEAT_TTL_S * 1_000 + TOLERANCE_MS
        gone_ms = before_ms + TOLERANCE_MS
        for text, kept in self.kept.items():
            expiry_ms = expiries.pop(reply_key(text), None)
            if expiry_ms is None or expiry_ms < gone_ms:
                assert kept.earliest_ms <= after_ms + TOLERANCE_MS
            else:
                bound_ms = kept.earliest_ms - TOLERANCE_MS, kept.latest_ms + TOLERANCE_MS
                assert bound_ms[0] <= expiry_ms <= bound_ms[1]
        # A key can expire between SCAN and PEXPIRETIME.
        assert not [key for key, expiry_ms in expiries.items() if expiry_ms > after_ms]

    # Expectations

    def _outcomes(self, record: FakeRecord, before_ms: int, after_ms: int) -> list[str]:
        """Return the outcomes that the listener must count for *record*, and keep its reply."""
        text = dict(record.headers).get("correlation-id", b"")
        assert text is not None
        cid = self._known(text.decode())
        if not text:
            return ["malformed"]
        if cid is None:
            return ["foreign"]
        try:
            reply, counts = Reply.decode(record.value, record.headers), []
        except UnusableReply as error:
            reply, counts = Reply.unusable(error), ["unusable"]
        if not self._is_live(cid, before_ms, after_ms):
            return [*counts, "expired"]
        if self._is_there(self.kept.get(cid.text), before_ms, after_ms):
            return [*counts, "duplicate"]
        over_ms = cid.deadline_ms + RETENTION_MS
        self.kept[cid.text] = Kept(
            reply,
            max(over_ms, before_ms + MIN_TTL_MS),
            max(over_ms + after_ms - before_ms, after_ms + MIN_TTL_MS),
        )
        return [*counts, "stored"]

    def _known(self, text: str) -> CorrelationId | None:
        try:
            return own_ids.read(text)
        except ForeignCorrelationId:
            return None

    def _is_live(self, cid: CorrelationId, before_ms: int, after_ms: int) -> bool:
        over_ms = cid.deadline_ms + RETENTION_MS
        self._assume_not_within(over_ms, over_ms, before_ms, after_ms)
        return over_ms > after_ms

    def _is_there(self, kept: Kept | None, before_ms: int, after_ms: int) -> bool:
        if kept is None:
            return False
        self._assume_not_within(kept.earliest_ms, kept.latest_ms, before_ms, after_ms)
        return kept.earliest_ms > after_ms

    def _assume_not_within(
        self, earliest_ms: int, latest_ms: int, before_ms: int, after_ms: int
    ) -> None:
        """Give up this example if the real time that passed decides the result."""
        assume(earliest_ms > after_ms + TOLERANCE_MS or latest_ms < before_ms - TOLERANCE_MS)

    def _write(self, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        self.topic.append(FakeRecord(value, headers, offset=len(self.topic)))

    def _now_ms(self) -> int:
        return correlation.epoch_ms()


def run_model(redis: Redis, max_examples: int, steps: int) -> None:
    """Run the model on *redis*; fail with the shortest sequence that the store violates."""

    class OnThisRedis(StoreModel):
        def __init__(self) -> None:
            super().__init__(redis)

    examples = max(max_examples, settings().max_examples) if _discovers() else max_examples
    run_state_machine_as_test(
        OnThisRedis, settings=settings(max_examples=examples, stateful_step_count=steps)
    )


def _discovers() -> bool:
    return not settings().derandomize
