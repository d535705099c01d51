"""Type of pytest's record_property; tests/faults/conftest.py prints what it records."""

from collections.abc import Callable

RecordProperty = Callable[[str, object], None]
