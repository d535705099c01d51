"""The threads of a worker that run the application, and the requests that wait for them."""

import logging
import sys
import threading
from typing import Any

from waitress.task import ThreadedTaskDispatcher

from gateway.clients.admission import SlotRules
from gateway.problems import Overloaded, Sent
from gateway.server.request_queue import Queued, QueueLimits, RequestQueue

#: Threads without which a worker cannot serve: one that waits for a reply, one for probes.
MIN_THREADS = 2


class RequestThreads(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress ships no types
    """
    waitress's threads, all started now: under load the system may have none left.

    Requests that need a slot get one before they get a thread. Without a free slot they wait in a
    queue. Those for which there is no room or no time are handed over without a slot: the
    application rejects them, in a thread that no slot can take.

    Args:
        size: number of threads.
        log: gets an error if fewer can be started.
        rules: which requests take a slot; None for none.
        limits: of the queue.
        max_queued_bytes: maximum size of all requests in the queue.
    """

    def __init__(
        self,
        size: int,
        log: Any,
        rules: SlotRules | None = None,
        limits: QueueLimits = QueueLimits(),  # noqa: B008  # immutable
        max_queued_bytes: int = sys.maxsize,
    ) -> None:
        super().__init__()
        # Requests wait here for microseconds; those that need a slot wait for it before.
        self.queue_logger = logging.getLogger("waitress.queue")
        self.queue_logger.setLevel(logging.ERROR)
        self._rules = rules
        self._share = limits.share
        self.waiting = RequestQueue(limits.max_requests, max_queued_bytes)
        #: Held while the queue and the free slots are compared.
        self._slots_lock = threading.Lock()
        if rules is not None:
            rules.admission.on_release = self._fill_slots
        self._missing = 0
        self.set_thread_count(size)
        if self._missing:
            log.error(
                "threads=%d of THREADS=%d could be started; raise the process limit "
                "(ulimit -u, pids.max) or lower THREADS",
                len(self.threads),
                size,
            )
        if len(self.threads) < MIN_THREADS:
            sys.exit("this worker cannot start threads; it cannot serve")

    def start_new_thread(self, target: Any, thread_no: int) -> None:
        """Start a thread; count it as missing if the system has none."""
        try:
            super().start_new_thread(target, thread_no)
        except RuntimeError:
            self._missing += 1
            self.threads.discard(thread_no)
            self.active_count -= 1

    def add_task(self, task: Any) -> None:
        """Hand the request of a channel to a thread, or let it wait for a slot."""
        request = task.requests[0]
        rules = self._rules
        if rules is None or request.error or not rules.takes_slot(request.command, request.path):
            super().add_task(task)
            return
        with self._slots_lock:
            if rules.admission.reserve():
                super().add_task(_WithSlot(self, task))
                return
            without_room = self._enqueue(rules, task, request)
        for channel in without_room:
            super().add_task(channel)

    def _enqueue(self, rules: SlotRules, channel: Any, request: Any) -> list[Any]:
        """Add a request to the queue; return the channels of those without room in it."""
        wait = rules.slot_wait(request.command, request.path, request.headers)
        if wait is None:
            return [channel]
        request.was_queued = True
        until_s = request.complete_s + wait.reply_timeout_s * self._share
        queued = Queued(channel, wait.client, until_s, request.received_bytes)
        return [evicted.channel for evicted in self.waiting.add(queued)]

    def reject_overdue(self, now_s: float) -> None:
        """Hand over the requests that have waited too long; they get no slot."""
        if now_s < self.waiting.next_due_s:
            return
        with self._slots_lock:
            overdue = self.waiting.pop_overdue(now_s)
        for queued in overdue:
            super().add_task(queued.channel)

    def next_or_release(self) -> Any:
        """Return the channel of the next request for a slot; without one release the slot."""
        with self._slots_lock:
            queued = self.waiting.pop()
            if queued is None and self._rules is not None:
                self._rules.admission.release_reserved()
            return None if queued is None else queued.channel

    def _fill_slots(self) -> None:
        """Let requests have the slots that the application has released."""
        with self._slots_lock:
            while len(self.waiting) and self._rules is not None and self._rules.admission.reserve():
                queued: Queued | None = self.waiting.pop()
                if queued is not None:
                    super().add_task(_WithSlot(self, queued.channel))


class _WithSlot:
    """A task that holds a slot: it answers one request, then those that wait."""

    __slots__ = ("_channel", "_has_slot", "_threads")

    def __init__(self, threads: RequestThreads, channel: Any) -> None:
        self._threads = threads
        self._channel = channel
        self._has_slot = True

    def service(self) -> None:
        """Answer requests until none waits; the slot stays with this thread."""
        while self._channel is not None:
            channel = self._channel
            try:
                self._answer(channel)
            except BaseException:
                self._threads.logger.exception("Exception when servicing %r", channel)
                channel.cancel()
            self._pass_on()
            self._has_slot = True

    def _answer(self, channel: Any) -> None:
        request = channel.requests[0]
        request.has_slot = True
        # Before it is logged: its client may send the next one, and needs a slot for it.
        request.on_answered = self._pass_on
        if request.was_queued and channel.client_has_left():
            # It may have closed its side only: then it reads this.
            detail = "the client closed its side of the connection while its request waited"
            request.refuse(Overloaded(f"{detail} for a slot; send it again", sent=Sent.NO))
        channel.service()

    def _pass_on(self) -> None:
        """Take the next request that waits for the slot; without one release it."""
        if self._has_slot:
            self._has_slot = False
            self._channel = self._threads.next_or_release()

    def cancel(self) -> None:
        """Give up the request; waitress calls it when its threads end."""
        self._channel.cancel()
