"""
The responder with one more handler: `python -m tools.soak.load.responder`.

    SOAK_SEED, SOAK_TIMEOUT_S   determine the tasks
    SOAK_LEDGER                 file of the recorded executions
"""

import os
import time
from pathlib import Path

from rendezvous.contract import Reply, Request
from responder.__main__ import main
from responder.registry import HandlerError, handles
from tools.soak.ledger import Ledger
from tools.soak.load.tasks import CONTENT_TYPE, TOPIC, Task, digest, number_in


class TaskHandler:
    """
    Executes a numbered request and records the execution.

    Args:
        seed, timeout_s: see Task.
        ledger: written before the reply is sent.
    """

    def __init__(self, seed: int, timeout_s: float, ledger: Ledger) -> None:
        self._seed = seed
        self._timeout_s = timeout_s
        self._ledger = ledger

    def __call__(self, request: Request) -> Reply:
        number = number_in(request.body)
        if number is None:
            raise HandlerError(400, "not a request of the soak")
        task = Task(self._seed, number, self._timeout_s)
        time.sleep(task.delay_s)
        self._ledger.record(number, request.correlation_id, digest(request.body), time.monotonic())
        if task.is_refused:
            raise HandlerError(task.status, task.refusal)
        return Reply.to(
            request, task.reply_body(request.body), status=task.status, content_type=CONTENT_TYPE
        )


if __name__ == "__main__":
    environment = os.environ
    handles(TOPIC)(
        TaskHandler(
            int(environment["SOAK_SEED"]),
            float(environment["SOAK_TIMEOUT_S"]),
            Ledger(Path(environment["SOAK_LEDGER"])),
        )
    )
    main()
