"""Every subject under every case, in rounds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tools.bench.cases import Case, is_floor, starts
from tools.bench.measure.result import Result
from tools.bench.report.progress import Progress
from tools.bench.report.tables import line
from tools.bench.servers import Servers
from tools.bench.setup import Setup
from tools.bench.subject import Subject

#: Estimated seconds of a start without its cases, and of a case without its measured time.
START_S, CASE_S, FLOOR_CASE_S = 9.0, 0.7, 3.5


@dataclass(frozen=True)
class Plan:
    """Subjects, cases, rounds and the length of each measurement."""

    subjects: Sequence[str]
    cases: Sequence[Case]
    rounds: int
    seconds: float
    setups: Mapping[str, Setup] = field(
        default_factory=dict
    )  # of subjects that have a name of their own
    alternate: bool = False  # reverse the order of subjects in every second round

    @property
    def planned_s(self) -> float:
        """Estimated duration of everything."""
        round_s = sum(
            START_S + sum(self.case_s(subject, case) for case in cases)
            for subject, _, cases in starts(self.subjects, self.cases)
        )
        return self.rounds * round_s

    def case_s(self, subject: str, case: Case) -> float:
        """Return the estimated duration of one measurement."""
        overhead_s = FLOOR_CASE_S if is_floor(subject) else CASE_S
        return self.seconds + 3 * case.delay_s + overhead_s

    def order(self, number: int) -> Sequence[str]:
        """Return the subjects in the order of round *number*."""
        return self.subjects[:: -1 if self.alternate and number % 2 == 0 else 1]

    def setup(self, subject: str, workers: int) -> Setup:
        """Return the setup of *subject*."""
        found = self.setups.get(subject) or Setup(subject)
        return replace(found, label=subject, workers=workers)


def compare(servers: Servers, plan: Plan) -> Iterator[Result]:
    """Measure by *plan*, print progress, and yield each result."""
    progress = Progress(plan.planned_s)
    for number in range(1, plan.rounds + 1):
        for name, workers, cases in starts(plan.order(number), plan.cases):
            with Subject(servers, plan.setup(name, workers)) as subject:
                progress.done(START_S)
                for case in cases:
                    result = subject.measure(case, plan.seconds, number)
                    progress.done(plan.case_s(name, case))
                    progress.print(f"round {number}/{plan.rounds}  {line(result)}")
                    yield result
