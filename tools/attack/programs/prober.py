"""
Probes GET /livez on new connections, ten times a second.

    python -m tools.attack.programs.prober PORT SECONDS FILE

It runs until SIGTERM, at most for SECONDS. Each line of FILE: start (monotonic), seconds until the
response, status (0: none within 1 s).
"""

import asyncio
import signal
import sys
import time
from pathlib import Path

from tools.devstack.ports import LOOPBACK

PAUSE_S = 0.1
LIMIT_S = 1.0
REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def probe(port: int) -> int:
    """Return the status of the response, or 0 when none arrives within the limit."""
    writer = None
    try:
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(REQUEST)
            line = await reader.readline()
            await reader.read()
        return int(line.split()[1]) if line else 0
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0
    finally:
        if writer is not None:
            writer.close()


async def run(port: int, limit_s: float, file: Path) -> None:
    """Probe at fixed times, whatever became of earlier probes."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    began_s = time.monotonic()
    with file.open("w", encoding="utf-8") as log:

        async def one() -> None:
            started_s = time.monotonic()
            status = await probe(port)
            log.write(f"{started_s:.4f} {time.monotonic() - started_s:.4f} {status}\n")

        async with asyncio.TaskGroup() as tasks:
            for number in range(int(limit_s / PAUSE_S)):
                if stopped.is_set():
                    break
                tasks.create_task(one())
                await asyncio.sleep(began_s + (number + 1) * PAUSE_S - time.monotonic())


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
