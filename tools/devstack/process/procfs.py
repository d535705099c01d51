"""Processes and their connections, from Linux's /proc."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: A connection state in /proc/net/tcp.
ESTABLISHED = "01"


def children_of(pid: int) -> list[int]:
    """Return *pid* and its descendants."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += children_of(int(child))
    return found


@dataclass(frozen=True)
class Usage:
    """Resources of one process."""

    rss_bytes: int
    threads: int
    fds: int


def usage_of(pid: int) -> Usage | None:
    """Return the resources of process *pid*, or None when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        fds = len(os.listdir(f"/proc/{pid}/fd"))
        # A zombie has no VmRSS.
        rss_kib = int(status["VmRSS"].split()[0])
    except (OSError, KeyError):
        return None
    return Usage(rss_kib * 1024, int(status["Threads"]), fds)


def unread_bytes(port: int) -> int:
    """Return the bytes that the server on *port* (IPv4) has received but not read."""
    _, *connections = Path("/proc/net/tcp").read_text().splitlines()
    fields = [line.split() for line in connections]
    # Address:port in hexadecimal; queues as bytes to send : bytes to read.
    return sum(
        int(queues.partition(":")[2], 16)
        for _, local, _, state, queues, *_ in fields
        if state == ESTABLISHED and int(local.partition(":")[2], 16) == port
    )
