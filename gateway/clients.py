"""Who may call, and what each of them may do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """
    Somebody who calls.

    Args:
        name: tells it from the others, in logs and in the ids of its requests; empty for whoever
            calls a gateway that asks nobody for a key.
    """

    name: str


ANYBODY = Client("")
