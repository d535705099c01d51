"""ReplyTopics: the topics to which replies may go."""

import re
from collections.abc import Iterable


class ReplyTopics:
    """
    Answers ``topic in reply_topics``: a header must not choose an arbitrary topic.

    Args:
        patterns: names of topics, in which ``*`` stands for any characters.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        names = set(patterns)
        self._names = {name for name in names if "*" not in name}
        wild = sorted(names - self._names)
        self._pattern = re.compile(
            "|".join(".*".join(map(re.escape, name.split("*"))) for name in wild) or r"(?!)"
        )

    def __contains__(self, topic: str) -> bool:
        """Return whether replies may go to *topic*."""
        return topic in self._names or self._pattern.fullmatch(topic) is not None
