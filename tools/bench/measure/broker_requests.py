"""Number of requests that the broker has received, by kind."""

import subprocess
from pathlib import Path
from typing import Self

from tools.devstack.ports import LOOPBACK

PROGRAM = Path(__file__).parents[1] / "programs" / "KafkaRequests.java"
#: Starts fast and compiles little: it must not take CPU from what is measured.
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m")


def jmx_options(port: int) -> list[str]:
    """Return the options of a Java process that publishes its metrics on *port*."""
    values = {
        "com.sun.management.jmxremote.port": port,
        "com.sun.management.jmxremote.rmi.port": port,
        "com.sun.management.jmxremote.host": LOOPBACK,
        "java.rmi.server.hostname": LOOPBACK,
        "com.sun.management.jmxremote.authenticate": "false",
        "com.sun.management.jmxremote.ssl": "false",
    }
    return [f"-D{name}={value}" for name, value in values.items()]


class BrokerRequests:
    """
    Reads the broker's metrics, during a ``with`` block.

    Without a Java compiler there are no counts.

    Args:
        port: of jmx_options().
    """

    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*JAVA, str(PROGRAM), str(self._port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def counts(self) -> dict[str, int]:
        """Return the number of requests so far by kind, such as Produce; empty if unknown."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return {}
        try:
            process.stdin.write("\n")
            process.stdin.flush()
        except BrokenPipeError:
            return {}
        return parsed(process.stdout.readline())


def parsed(line: str) -> dict[str, int]:
    """Return the counts in a *line* of the program."""
    pairs = (field.partition("=") for field in line.split()[1:])
    return {kind: int(count) for kind, _, count in pairs}
