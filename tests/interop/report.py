"""The table of frameworks and cases."""

from tests.interop.drive import Result
from tests.interop.frameworks import CASES, Framework

_LINE = "{:<12}" + " {:>8}" * len(CASES) + " {:>9} {:>9}"


def heading() -> str:
    """Return the first line of the table."""
    return _LINE.format("framework", *CASES, "answered", "straight")


def row(framework: Framework, result: Result) -> str:
    """Return the line of *framework*; a status that was not expected has a mark."""
    statuses = [
        str(result.statuses[case]) + ("" if is_as_expected(framework, result, case) else "!")
        for case in CASES
    ]
    share = f"{result.straight / result.replies:.1%}" if result.replies else "-"
    return _LINE.format(framework.name, *statuses, f"{result.answered}/{result.sent}", share)


def is_as_expected(framework: Framework, result: Result, case: str) -> bool:
    """Return whether *case* got the status that the documents promise."""
    return result.statuses[case] == framework.expected[case]


def passed(framework: Framework, result: Result) -> bool:
    """Return whether every case is as expected and no request was lost."""
    return result.answered == result.sent and all(
        is_as_expected(framework, result, case) for case in CASES
    )
