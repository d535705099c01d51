"""When a reply is due, as far as earlier ones tell: whoever looks sooner looks in vain."""

#: How fast the estimate follows replies that come sooner than expected, and those that come later.
#: It is to be the time before which hardly any comes, so the sooner ones count.
SOONER, LATER = 0.3, 0.03
#: Looking begins after this share of it, or nobody would notice that they have become faster.
MARGIN = 0.8


class ReplyTimes:
    """How long the fast replies of each kind of request take. For one thread."""

    def __init__(self) -> None:
        self._usual_s: dict[str, float] = {}

    def note(self, kind: str, took_s: float) -> None:
        """Learn that a request of *kind* was replied to after *took_s*."""
        usual_s = self._usual_s.get(kind, took_s)
        share = SOONER if took_s < usual_s else LATER
        self._usual_s[kind] = usual_s + share * (took_s - usual_s)

    def earliest_s(self, kind: str) -> float:
        """Return how long after a request of *kind* it makes sense to look; 0 when unknown."""
        return MARGIN * self._usual_s.get(kind, 0.0)
