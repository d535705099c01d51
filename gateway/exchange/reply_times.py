"""When a reply is due, as far as earlier ones tell: whoever looks sooner looks in vain."""

#: How fast the estimate follows replies that come later than expected. One that comes sooner is
#: believed at once: it is to be the time before which none comes.
LATER = 0.03
#: Looking begins after this share of it, or nobody would notice that they have become faster.
MARGIN = 0.8
#: What is there at the first look has come at some time before; so much of it, let us say.
UNSEEN = 0.5


class ReplyTimes:
    """How long the fast replies of each kind of request take. For one thread."""

    def __init__(self) -> None:
        self._usual_s: dict[str, float] = {}

    def note(self, kind: str, took_s: float, *, at_first_look: bool = False) -> None:
        """Learn that a request of *kind* was replied to after *took_s*, as far as one has seen."""
        if at_first_look:
            took_s *= UNSEEN
        usual_s = self._usual_s.get(kind, took_s)
        later_s = max(took_s - usual_s, 0.0)
        self._usual_s[kind] = min(took_s, usual_s + LATER * later_s)

    def usual_s(self, kind: str) -> float:
        """Return how long the fast replies to requests of *kind* take; 0 when unknown."""
        return self._usual_s.get(kind, 0.0)

    def earliest_s(self, kind: str) -> float:
        """Return how long after a request of *kind* it makes sense to look; 0 when unknown."""
        return MARGIN * self.usual_s(kind)
