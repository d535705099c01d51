"""What Linux tells about processes and their connections, from /proc."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Of the states of a TCP connection in /proc/net/tcp.
ESTABLISHED = "01"


def children_of(pid: int) -> list[int]:
    """Return *pid* and the processes below it."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += children_of(int(child))
    return found


@dataclass(frozen=True)
class Usage:
    """What one process holds."""

    rss_bytes: int
    threads: int
    fds: int


def usage_of(pid: int) -> Usage | None:
    """Return what process *pid* holds, or None when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        fds = len(os.listdir(f"/proc/{pid}/fd"))
        # A process that has ended and was not collected yet has no memory.
        rss_kib = int(status["VmRSS"].split()[0])
    except (OSError, KeyError):
        return None
    return Usage(rss_kib * 1024, int(status["Threads"]), fds)


def unread_bytes(port: int) -> int:
    """Return how much the server on *port* (IPv4) has received and not read yet."""
    _, *connections = Path("/proc/net/tcp").read_text().splitlines()
    fields = [line.split() for line in connections]
    # Address and port in hexadecimal, the queues as what waits to be sent : to be read.
    return sum(
        int(queues.partition(":")[2], 16)
        for _, local, _, state, queues, *_ in fields
        if state == ESTABLISHED and int(local.partition(":")[2], 16) == port
    )
