"""Request bodies that ask the echo responder for a delay."""

_HEAD = b"delay="
#: Maximum length of the delay and its separator, in bytes.
_HEAD_LIMIT = 32


def head(delay_s: float) -> bytes:
    """Return the start of a body that asks for *delay_s*, empty for none."""
    return b"%s%s;" % (_HEAD, f"{delay_s:.6f}".rstrip("0").encode()) if delay_s else b""


def body(size: int, delay_s: float = 0.0) -> bytes:
    """
    Return a body of *size* bytes that asks for *delay_s*.

    Raises:
        ValueError: when *size* is too small for the delay.
    """
    begin = head(delay_s)
    if len(begin) > size:
        raise ValueError(f"{begin!r} does not fit into {size} bytes")
    return begin + b"x" * (size - len(begin))


def delay_of(content: bytes) -> float:
    """Return the delay that *content* asks for, in seconds; 0 for none."""
    if not content.startswith(_HEAD):
        return 0.0
    number, end, _ = content[len(_HEAD) : _HEAD_LIMIT].partition(b";")
    try:
        return float(number) if end else 0.0
    except ValueError:
        return 0.0
