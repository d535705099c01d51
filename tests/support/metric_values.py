"""Values of metrics of this process, and how they change."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY


def value(name: str, **labels: str) -> float:
    """Return the value of a sample of this process; 0 before it exists."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Increase:
    """How much a sample has increased since."""

    def __init__(self, name: str, labels: dict[str, str]) -> None:
        self._name, self._labels = name, labels
        self._before = value(name, **labels)

    def __call__(self) -> float:
        return value(self._name, **self._labels) - self._before


@contextmanager
def increases(by: float, name: str, **labels: str) -> Iterator[None]:
    """Assert that the block increases a sample by exactly *by*."""
    increase = Increase(name, labels)
    yield
    assert increase() == by, (name, labels)
