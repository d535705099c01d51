"""The requesters of other frameworks, and the calls that each makes to our responder."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.interop.frameworks import MAVEN, NPM, PIP
from tests.interop.programs import Program
from tests.support.deployment import Deployment
from tools.devstack.process.procfile import start_process

RUN_LIMIT_S = 150.0
STOP_LIMIT_S = 10.0
#: Topics to which requesters want their replies, by the names that the frameworks choose.
REPLY_TOPICS = (
    "spring.replies", "spring.partition.replies", "echo.reply", "orders.reply",
    "echo-replies", "orders-replies", "quarkus.replies", "faststream.replies",
)  # fmt: skip
ALLOWED = "spring.*,*.reply,*-replies,quarkus.replies,faststream.replies"

#: Texts in the replies and errors of the demo handlers.
_ORDER = '"item": "tea"'
_REFUSED = "must be a string that is not empty"
_FAILED = "its log has the cause"


@dataclass(frozen=True)
class Outcome:
    """What a call ends with: "reply" or "error", and its text."""

    kind: str
    text: str

    def is_as(self, expected: "Outcome") -> bool:
        """Return whether it is of the expected kind, with the expected text in it."""
        # Frameworks write JSON with and without blanks and escapes.
        plain = self.text.replace("\\", "").replace(" ", "").replace("'", '"')
        return self.kind == expected.kind and expected.text.replace(" ", "") in plain


@dataclass(frozen=True)
class Requester(Program):
    """
    A program that calls our responder and prints a line for each call.

    Args:
        expected: the outcome of each call.
    """

    PARENT: ClassVar[str] = "tests/interop/requesters"

    expected: Mapping[str, Outcome] = field(default_factory=dict)


_REPLIES = {"order": Outcome("reply", _ORDER), "order refused": Outcome("error", _REFUSED)}
_HANDLER_FAILS = {"handler fails": Outcome("error", _FAILED)}
REQUESTERS = (
    Requester(
        "spring",
        ("java", "mvn"),
        MAVEN,
        "java -Xmx128m -jar target/requester.jar",
        {
            "binary id": Outcome("reply", "hello"),
            "binary id, with key": Outcome("reply", "hello"),
            "text id": Outcome("reply", "hello"),
            "reply partition": Outcome("reply", "hello partition 2"),
            **_REPLIES,
            **_HANDLER_FAILS,
        },
    ),
    Requester(
        "nestjs",
        ("node", "npm"),
        f"{NPM} && npx tsc",
        "node dist/requester.js",
        {
            "first value": Outcome("reply", '{"a":1}'),
            "last value": Outcome("reply", '{"a":1}'),
            **_REPLIES,
            **_HANDLER_FAILS,
        },
    ),
    Requester(
        "quarkus",
        ("java", "mvn"),
        MAVEN,
        "java -Xmx128m -jar target/quarkus-app/quarkus-run.jar",
        {
            "default": Outcome("reply", "hello"),
            "reply partition": Outcome("reply", "hello"),
            "binary id": Outcome("reply", "hello"),
            **_REPLIES,
        },
    ),
    Requester(
        "faststream",
        (),
        PIP,
        "venv/bin/python requester.py",
        {
            "object": Outcome("reply", '{"a":1}'),
            "text": Outcome("reply", "hello"),
            "bytes": Outcome("reply", "x00xff"),
            **_REPLIES,
        },
    ),
)


def outcomes_of(requester: Requester, deployment: Deployment) -> dict[str, Outcome]:
    """Run *requester* to its end; return the outcome of each call that it printed."""
    log = deployment.folder / f"{requester.name}-requester.log"
    env = {"BOOTSTRAP": deployment.kafka.address}
    child = start_process(requester.run, env, log, requester.folder)
    deadline_s = time.monotonic() + RUN_LIMIT_S
    while child.returncode is None and time.monotonic() < deadline_s:
        time.sleep(0.1)
    child.stop(STOP_LIMIT_S)
    return printed_outcomes(log)


def printed_outcomes(log: Path) -> dict[str, Outcome]:
    """Return the outcome of each call in *log*."""
    lines = log.read_text("utf-8", "replace").splitlines()
    calls = [line.split("\t", 3) for line in lines if line.startswith("call\t")]
    return {call[1]: Outcome(call[2], call[3]) for call in calls if len(call) == 4}


def call_rows(requester: Requester, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return a line for each call of *requester*; one that is not as expected has a mark."""
    rows = []
    for call, expected in requester.expected.items():
        found = outcomes.get(call, Outcome("nothing", "it printed nothing for this call"))
        mark = "" if found.is_as(expected) else "!"
        rows.append(f"{requester.name:<12} {call:<20} {found.kind + mark:<9} {found.text[:90]}")
    return rows


def answered(requester: Requester, outcomes: Mapping[str, Outcome]) -> int:
    """Return the number of calls of *requester* that ended as expected."""
    return sum(
        call in outcomes and outcomes[call].is_as(expected)
        for call, expected in requester.expected.items()
    )
