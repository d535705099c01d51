"""Cases of a framework, and what its route to each says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tests.interop.programs import Program

JSON, TEXT, FORM, BINARY = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
)
UTF8 = "text/plain; charset=utf-8"
_ANY_BODY = 'body = "any"\n'
#: Lines of routes to handlers that take text, bytes or anything, beside a profile.
TAKES_ANY = _ANY_BODY
TEXT_ROUTE = f'{_ANY_BODY}reply_content_type = "{UTF8}"\n'
BINARY_ROUTE = f'{_ANY_BODY}reply_content_type = "{BINARY}"\n'
TIMEOUT = "503 reply-timeout..."


@dataclass(frozen=True)
class Case:
    """
    A request to a responder, and the response.

    Args:
        expected: status, content type (or "-") and body; of a problem the status, its type and
            its detail. A text that ends in "..." is only the beginning.
        reason: why this is not what the user of the framework may expect, and what to do.
    """

    topic: str
    label: str
    body: bytes
    content_type: str | None
    expected: str
    reason: str = ""

    @property
    def path(self) -> str:
        """The path of its route."""
        return "/" + self.topic.replace(".", "/", 1)

    def is_as_expected(self, observed: str) -> bool:
        """Return whether *observed* is the expected text."""
        if self.expected.endswith("..."):
            return observed.startswith(self.expected.removesuffix("..."))
        return observed == self.expected


@dataclass(frozen=True)
class Suite(Program):
    """
    A responder and its cases.

    Args:
        options: lines of the route to each topic, beside path and topic.
    """

    PARENT: ClassVar[str] = "tests/interop/cases/programs"

    cases: tuple[Case, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def topics(self) -> list[str]:
        """Its request topics, in the order of its cases."""
        return list(dict.fromkeys(case.topic for case in self.cases))

    @property
    def routes(self) -> str:
        """Its part of routes.toml."""
        paths = {case.topic: case.path for case in self.cases}
        return "".join(
            f'[[route]]\npath = "{path}"\ntopic = "{topic}"\n{self.options.get(topic, "")}'
            for topic, path in paths.items()
        )
