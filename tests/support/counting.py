"""Bytes and patterns that count the bytes they touch: tests measure work without a clock."""

import re
from typing import Any, ClassVar


class CountingBytearray(bytearray):
    """Appends the number of bytes of each operation to `touched`."""

    touched: ClassVar[list[int]] = []

    def find(self, part: Any, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        self.touched.append(len(self) - start)
        return super().find(part, start)

    def count(self, part: Any, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        self.touched.append(len(self) - start)
        return super().count(part, start)

    def __iadd__(self, data: Any) -> "CountingBytearray":
        self.touched.append(len(data))
        super().__iadd__(data)
        return self

    def __add__(self, data: Any) -> bytearray:
        self.touched.append(len(self) + len(data))
        return super().__add__(data)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.touched.append(len(found) if isinstance(key, slice) else 1)
        return found


class CountingPattern:
    """Appends the number of bytes of each search to *touched*."""

    def __init__(self, pattern: re.Pattern[bytes], touched: list[int]) -> None:
        self._pattern = pattern
        self._touched = touched

    def search(self, data: bytes, start: int = 0) -> re.Match[bytes] | None:
        self._touched.append(len(data) - start)
        return self._pattern.search(data, start)
