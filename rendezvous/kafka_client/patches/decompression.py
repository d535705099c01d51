"""
Decompresses record batches up to a limit.

requirements.txt installs the libraries of snappy, lz4 and zstd; kafka-python works without them.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Any

from kafka import codec, errors

#: The header of snappy streams in the framing of Java clients, and its size.
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
#: zlib's code for the gzip format.
_GZIP_WBITS = 31


def decompressed(codec_number: int, data: memoryview, limit: int) -> bytes:
    """
    Return *data* decompressed, or the beginning of it if it has more than *limit* bytes.

    Args:
        codec_number: the compression type of a record batch.
    """
    name, is_installed, decompress = _CODECS.get(codec_number, ("unknown", _never, _gzip))
    if not is_installed():
        raise errors.UnsupportedCodecError(f"no library for its compression, {name}")
    found: bytes = decompress(data, limit)
    return found


def _never() -> bool:
    return False


def _gzip(data: memoryview, limit: int) -> bytes:
    found, rest = b"", bytes(data)
    # A gzip file can have several members.
    while rest and len(found) < limit:
        member = zlib.decompressobj(_GZIP_WBITS)
        found += member.decompress(rest, limit - len(found))
        if not member.eof and len(found) < limit:
            raise ValueError("it ends early")
        rest = member.unused_data
    return found


def _snappy(data: memoryview, limit: int) -> bytes:
    if bytes(data[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        return _snappy_block(bytes(data), limit)
    found = bytearray()
    position = _XERIAL_HEADER_BYTES
    while position < len(data) and len(found) < limit:
        (size,) = struct.unpack_from("!i", data, position)
        position += 4
        found += _snappy_block(bytes(data[position : position + size]), limit)
        position += max(size, 0)
    return bytes(found[:limit])


def _snappy_block(block: bytes, limit: int) -> bytes:
    # It begins with its decompressed size, which the library allocates at once.
    size = shift = 0
    for byte in block[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if size > limit:
        raise ValueError(f"it has {size} bytes; the maximum is {limit}")
    found: bytes = codec.snappy.decompress(block)
    return found


def _lz4(data: memoryview, limit: int) -> bytes:
    found: bytes = codec.lz4.LZ4FrameDecompressor().decompress(bytes(data), max_length=limit)
    return found


def _zstd(data: memoryview, limit: int) -> bytes:
    reader = codec.zstd.ZstdDecompressor(max_window_size=limit).stream_reader(
        bytes(data), read_across_frames=True
    )
    with reader:
        found: bytes = reader.read(limit)
        return found


#: Name, whether the library is installed, and decompression, by compression type.
_CODECS: dict[int, tuple[str, Callable[[], bool], Callable[[memoryview, int], Any]]] = {
    1: ("gzip", codec.has_gzip, _gzip),
    2: ("snappy", codec.has_snappy, _snappy),
    3: ("lz4", lambda: hasattr(codec.lz4, "LZ4FrameDecompressor"), _lz4),
    4: ("zstd", codec.has_zstd, _zstd),
}
