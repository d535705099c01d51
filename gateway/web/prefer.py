"""How long a client wants to wait, and whether it would rather not: Prefer (RFC 7240)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# The possessive repetitions (*+, ++) never go back: what strangers send is read in one pass.
#: One that is not closed goes on to the end of the line.
_QUOTED = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
#: One preference with its parameters; commas within quotes do not end it.
_PREFERENCE = re.compile(rf'(?:[^,"]|{_QUOTED})++', re.DOTALL)
_BEFORE_PARAMETERS = re.compile(rf'(?:[^;"]|{_QUOTED})*+', re.DOTALL)
_QUOTED_WORD = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
#: Who would not wait at all would never get a reply.
MIN_WAIT_S = 1


@dataclass(frozen=True, slots=True)
class Preferences:
    """
    What a client prefers; whatever else it says, and what it says wrong, is ignored (section 2).

    Args:
        wait_s: for so long it is willing to wait (section 4.3); None when it does not say.
        respond_async: it takes a 202 when there is no reply yet (section 4.1).
    """

    wait_s: int | None = None
    respond_async: bool = False

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Preferences":
        """Return the preferences in the Prefer header *lines* of one request."""
        found: dict[str, str] = {}
        for line in lines:
            for preference in _PREFERENCE.findall(line):
                name, _, value = _before_parameters(preference).partition("=")
                found.setdefault(name.strip().lower(), _word(value.strip()))  # the first counts
        wait = found.get("wait", "")
        return cls(
            int(wait) if _SECONDS.fullmatch(wait) else None, found.get("respond-async") == ""
        )

    def wait_within_s(self, usual_s: float, longest_s: float) -> float:
        """Return how long we wait where *usual_s* is usual and *longest_s* the most."""
        if self.wait_s is None:
            return 0.0 if self.respond_async else usual_s
        if self.respond_async:
            return min(float(self.wait_s), longest_s)
        return min(max(float(self.wait_s), MIN_WAIT_S), longest_s)

    def applied(self, wait_s: float, is_pending: bool) -> str:
        """
        Return the value of Preference-Applied; empty when nothing was.

        Args:
            wait_s: for how long we were ready to wait.
            is_pending: whether the answer is a 202.
        """
        applied = ["respond-async"] if is_pending and self.respond_async else []
        if self.wait_s is not None:
            applied.append(f"wait={wait_s:g}")
        return ", ".join(applied)


def _before_parameters(preference: str) -> str:
    found = _BEFORE_PARAMETERS.match(preference)
    return found[0] if found else ""


def _word(text: str) -> str:
    """Return what a quoted string holds; a token is what it is."""
    quoted = _QUOTED_WORD.fullmatch(text)
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else text
