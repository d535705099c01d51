"""
A metadata request to a Kafka broker, without a Kafka client.

The constructor of a kafka-python client that fails leaves a thread behind that keeps retrying, and
while a server starts it fails many times.
"""

import socket
import struct

METADATA, VERSION = 3, 12
CORRELATION_ID = 1


def broker_answers(host: str, port: int, timeout_s: float) -> bool:
    """Return whether the broker answers a metadata request with at least one broker."""
    return bool(broker_ids(host, port, timeout_s))


def broker_ids(host: str, port: int, timeout_s: float) -> set[int]:
    """Return the broker ids in the metadata; empty without an answer."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(_metadata_request())
            return _broker_ids(_receive(connection))
    except (OSError, EOFError):
        return set()


def _metadata_request() -> bytes:
    header = struct.pack(">hhih", METADATA, VERSION, CORRELATION_ID, -1) + b"\0"
    # An empty list of topics, no topic creation, no authorized operations, no tags.
    body = b"\x01" + b"\0" + b"\0" + b"\0"
    return struct.pack(">i", len(header + body)) + header + body


def _receive(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _broker_ids(response: bytes) -> set[int]:
    """Return the broker ids in *response*; none before a new broker has joined."""
    # Correlation id, no tags, throttle time, then the length plus one of the list of brokers.
    correlation_id, _, _, count_plus_one = struct.unpack_from(">ibiB", response)
    if correlation_id != CORRELATION_ID:
        return set()
    ids, at = set(), 10
    for _ in range(count_plus_one - 1):
        (broker_id,) = struct.unpack_from(">i", response, at)
        ids.add(broker_id)
        # Id; host and, behind the port, rack: each the length plus one, or 0 for none; no tags.
        at = _after_text(response, _after_text(response, at + 4) + 4) + 1
    return ids


def _after_text(response: bytes, at: int) -> int:
    return at + 1 + max(response[at] - 1, 0)
