"""
Lets kafka-python decode what brokers send when Python runs without assertions.

Bug: kafka-python 3.0 reads the empty tagged fields of a message (KIP-482) inside an assertion.
With -O or PYTHONOPTIMIZE they are not read, what follows is taken for them, and no client
connects.
Reproduce: PYTHONOPTIMIZE=1, then any client.
Effect: the processes run with PYTHONOPTIMIZE as without.
Remove: when TaggedFields.decode_empty() decodes outside of its assertion.
"""

from typing import Any

from kafka.protocol.schemas.fields.codecs.tagged_fields import TaggedFields, UnsignedVarInt32


def decode_without_assertions() -> None:
    """Replace what decodes empty tagged fields, if Python runs without assertions."""
    if not __debug__:
        TaggedFields.decode_empty = staticmethod(_decode_empty)


def _decode_empty(data: Any) -> None:
    number = UnsignedVarInt32.decode(data)
    if number:
        raise ValueError(f"{number} tagged fields where there are none")
