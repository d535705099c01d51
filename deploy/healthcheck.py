"""Health check of a container: whether its gateway is alive."""

import http.client
import os
import sys
from pathlib import Path

TIMEOUT_S = 4.0


def main(first_process: Path = Path("/proc/1/cmdline")) -> int:
    """Return 0 if the gateway is alive, or if the container runs another process."""
    # replies and responder serve no HTTP; a watchdog ends them when they hang.
    if b"gunicorn" not in first_process.read_bytes():
        return 0
    port = int(os.environ.get("PORT") or 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    connection.request("GET", "/livez")
    return 0 if connection.getresponse().status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
