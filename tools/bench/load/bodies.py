"""Bodies that tell the echo responder how long to take."""

_HEAD = b"delay="
#: More digits than that are no delay of ours.
_HEAD_LIMIT = 32


def head(delay_s: float) -> bytes:
    """Return how the body of a request begins that is answered after *delay_s*."""
    return b"%s%s;" % (_HEAD, f"{delay_s:.6f}".rstrip("0").encode()) if delay_s else b""


def body(size: int, delay_s: float = 0.0) -> bytes:
    """
    Return *size* bytes that ask for *delay_s*.

    Raises:
        ValueError: when the delay has no room in so few.
    """
    begin = head(delay_s)
    if len(begin) > size:
        raise ValueError(f"{size} bytes have no room for {begin!r}")
    return begin + b"x" * (size - len(begin))


def delay_of(content: bytes) -> float:
    """Return the delay that *content* asks for, in seconds; 0 when it does not."""
    if not content.startswith(_HEAD):
        return 0.0
    number, end, _ = content[len(_HEAD) : _HEAD_LIMIT].partition(b";")
    try:
        return float(number) if end else 0.0
    except ValueError:
        return 0.0
