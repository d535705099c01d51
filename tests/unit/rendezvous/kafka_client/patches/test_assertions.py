"""Decoding when Python runs without assertions."""

import subprocess
import sys

import pytest

DECODE = """
import io
from kafka.protocol.schemas.fields.codecs.tagged_fields import TaggedFields
data = io.BytesIO(bytes([{number}, 7]))
TaggedFields.decode_empty(data)
print(data.tell())
"""


def decoded(number: int, *setup: str) -> subprocess.CompletedProcess[str]:
    program = "\n".join([*setup, DECODE.format(number=number)])
    command = [sys.executable, "-OO", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


PATCH = """
from rendezvous.kafka_client.patches.assertions import decode_without_assertions
decode_without_assertions()
"""


@pytest.mark.parametrize(("setup", "position"), [("", "0"), (PATCH, "1")])
def test_the_patch_is_needed_and_reads_empty_tagged_fields(setup: str, position: str):
    assert decoded(0, setup).stdout.strip() == position


def test_tagged_fields_where_there_are_none_are_an_error():
    assert "2 tagged fields where there are none" in decoded(2, PATCH).stderr
