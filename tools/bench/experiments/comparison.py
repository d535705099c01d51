"""The comparison: every subject under every case, round by round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tools.bench.cases import Case, is_floor, turns
from tools.bench.measure.result import Result
from tools.bench.report.progress import Progress
from tools.bench.report.tables import line
from tools.bench.servers import Servers
from tools.bench.subject import Setup, Subject

#: What a turn takes beside its cases, and a case beside its seconds: to estimate the time left.
TURN_S, CASE_S, FLOOR_CASE_S = 9.0, 0.7, 3.5


@dataclass(frozen=True)
class Plan:
    """What is measured, how often and for how long."""

    subjects: Sequence[str]
    cases: Sequence[Case]
    rounds: int
    seconds: float
    responder: str = "echo"
    setups: Mapping[str, Setup] = field(default_factory=dict)  # of those with names of their own
    to_and_fro: bool = False  # whether the last of a round is the first of the next

    @property
    def planned_s(self) -> float:
        """About how long all of it takes."""
        of_round = sum(
            TURN_S + sum(self.case_s(subject, case) for case in cases)
            for subject, _, cases in turns(self.subjects, self.cases)
        )
        return self.rounds * of_round

    def case_s(self, subject: str, case: Case) -> float:
        """Return about how long one measurement takes."""
        overhead_s = FLOOR_CASE_S if is_floor(subject) else CASE_S
        return self.seconds + 3 * case.delay_s + overhead_s

    def order(self, number: int) -> Sequence[str]:
        """Return the subjects in the order of round *number*."""
        return self.subjects[:: -1 if self.to_and_fro and number % 2 == 0 else 1]

    def setup(self, subject: str, workers: int) -> Setup:
        """Return what *subject* consists of."""
        found = self.setups.get(subject) or Setup(subject, responder=self.responder)
        return replace(found, label=subject, workers=workers)


def compare(servers: Servers, plan: Plan) -> Iterator[Result]:
    """Measure by *plan*, and say how it goes; each result comes as soon as it is there."""
    progress = Progress(plan.planned_s)
    for number in range(1, plan.rounds + 1):
        for name, workers, cases in turns(plan.order(number), plan.cases):
            with Subject(servers, plan.setup(name, workers)) as subject:
                progress.done(TURN_S)
                for case in cases:
                    result = subject.measure(case, plan.seconds, number)
                    progress.done(plan.case_s(name, case))
                    progress.say(f"round {number}/{plan.rounds}  {line(result)}")
                    yield result
