"""
Four honest clients that send POST /echo in a loop, two of them with keep-alive.

    python -m tools.attack.programs.honest_clients PORT SECONDS FILE

They run until SIGTERM, at most for SECONDS. Each line of FILE: start (monotonic), seconds until the
response, status (0: none). API_KEY, if set, is sent with each request.
"""

import http.client
import os
import signal
import sys
import threading
import time
from pathlib import Path

from tools.devstack.ports import LOOPBACK

CLIENTS = 4
LIMIT_S = 10.0
#: After a failure, in seconds, so that refused connections do not become a storm.
FAILURE_PAUSE_S = 0.05
BODY = b"an honest request of some length" * 6


class HonestClient:
    """
    A client that checks each response.

    Args:
        keeps: whether its connection stays open.
    """

    def __init__(self, port: int, keeps: bool) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=LIMIT_S)
        self._headers = {"Content-Type": "text/plain"}
        if key := os.environ.get("API_KEY"):
            self._headers["Authorization"] = f"Bearer {key}"
        if not keeps:
            self._headers["Connection"] = "close"

    def post(self) -> int:
        """Return the status; 0 without a response, 1 when it is not the echo."""
        try:
            self._connection.request("POST", "/echo", BODY, self._headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0
        return response.status if response.status != 200 or body == BODY else 1


def run(client: HonestClient, end_s: float, stopped: threading.Event, lines: list[str]) -> None:
    """Send until *end_s* or *stopped* and add a line for each request to *lines*."""
    while (started_s := time.monotonic()) < end_s and not stopped.is_set():
        status = client.post()
        lines.append(f"{started_s:.4f} {time.monotonic() - started_s:.4f} {status}\n")
        if status != 200:
            time.sleep(FAILURE_PAUSE_S)


def main() -> None:
    """Run the clients until SIGTERM, at most for SECONDS, then write FILE."""
    port, limit_s, file = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    end_s, stopped = time.monotonic() + limit_s, threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    lines: list[str] = []
    threads = [
        threading.Thread(target=run, args=(HonestClient(port, one % 2 == 0), end_s, stopped, lines))
        for one in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
