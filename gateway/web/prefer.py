"""The Prefer header (RFC 7240): ``wait`` and ``respond-async``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Possessive repetitions (*+, ++) do not backtrack, so any input is parsed in linear time.
#: A quoted string; without a closing quote it extends to the end of the line.
_QUOTED = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
#: One preference with its parameters; it may contain commas in quotes.
_PREFERENCE = re.compile(rf'(?:[^,"]|{_QUOTED})++', re.DOTALL)
_BEFORE_PARAMETERS = re.compile(rf'(?:[^;"]|{_QUOTED})*+', re.DOTALL)
_QUOTED_WORD = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
#: Minimum wait without respond-async, in seconds: a wait of 0 would never return a reply.
MIN_WAIT_S = 1


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences of a client; unknown and malformed ones are ignored (section 2)."""

    wait_s: int | None = None  # how long the client waits (section 4.3)
    respond_async: bool = False  # whether it accepts a 202 for a pending reply (section 4.1)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Preferences":
        """Return the preferences in the Prefer headers of one request."""
        found: dict[str, str] = {}
        for line in lines:
            for preference in _PREFERENCE.findall(line):
                name, _, value = _before_parameters(preference).partition("=")
                found.setdefault(name.strip().lower(), _word(value.strip()))  # the first counts
        wait = found.get("wait", "")
        return cls(
            int(wait) if _SECONDS.fullmatch(wait) else None, found.get("respond-async") == ""
        )

    def wait_within_s(self, default_s: float, longest_s: float) -> float:
        """Return how long to wait, given the default and the maximum of the route."""
        if self.wait_s is None:
            return 0.0 if self.respond_async else default_s
        if self.respond_async:
            return min(float(self.wait_s), longest_s)
        return min(max(float(self.wait_s), MIN_WAIT_S), longest_s)

    def applied(self, wait_s: float, is_pending: bool) -> str:
        """
        Return the value of Preference-Applied; empty if no preference was applied.

        Args:
            wait_s: the maximum wait that was applied.
            is_pending: whether the response is a 202.
        """
        applied = ["respond-async"] if is_pending and self.respond_async else []
        if self.wait_s is not None:
            applied.append(f"wait={wait_s:g}")
        return ", ".join(applied)


def _before_parameters(preference: str) -> str:
    found = _BEFORE_PARAMETERS.match(preference)
    return found[0] if found else ""


def _word(text: str) -> str:
    """Return the content of a quoted string, or a token unchanged."""
    quoted = _QUOTED_WORD.fullmatch(text)
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else text
