"""Replaces each process by one of the other release, again and again."""

import threading
import time
from dataclasses import dataclass
from random import Random

from tools.soak.run import RunFailed
from tools.soak.upgrade.releases import PROCESSES, MixedDeployment

#: Load without a replacement at the end, in seconds.
TAIL_S = 4.0


@dataclass(frozen=True)
class Step:
    """One replacement. Times are of the monotonic clock."""

    process: str
    release: str  # the one that was started
    at_s: float
    done_s: float


class Roller:
    """Replaces all processes in random order, round after round, in a thread of its own."""

    def __init__(self, deployment: MixedDeployment, end_s: float) -> None:
        self._deployment = deployment
        self._end_s = end_s - TAIL_S
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="roller", daemon=True)
        #: The current replacement, or "".
        self.current = ""
        self.steps: list[Step] = []
        #: What went wrong in a replacement.
        self.problems: list[str] = []
        #: The error that ended the thread, if any.
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin with the first replacement."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current replacement and begin no other."""
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise RunFailed if a process could not be replaced."""
        if self.failure is not None:
            raise RunFailed(f"{self.current}: {self.failure!r}") from self.failure

    def _run(self) -> None:
        random = Random(f"upgrade/{self._deployment.seed}")
        try:
            while True:
                for name, replica in random.sample(PROCESSES, len(PROCESSES)):
                    if self._stop.is_set() or time.monotonic() > self._end_s:
                        return
                    self._replace(name, replica)
        except Exception as error:  # noqa: BLE001 - reported by check()
            self.failure = error

    def _replace(self, name: str, replica: int) -> None:
        process = f"{name}-{replica}"
        self.current = f"{process}, {self._deployment.releases[process]} release, is replaced"
        at_s = time.monotonic()
        problem = self._deployment.replace(name, replica)
        if problem:
            self.problems.append(problem)
        release = self._deployment.releases[process]
        self.steps.append(Step(process, release, at_s, time.monotonic()))
        self.current = ""
