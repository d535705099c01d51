"""A TCP proxy in its own process, so that it shares no interpreter lock."""

import multiprocessing
import signal
from multiprocessing.connection import Connection
from typing import Self

from tools.devstack.ports import free_port
from tools.devstack.tcp_proxy import TcpProxy

START_LIMIT_S = 20.0


class ProxyProcess:
    """
    A TcpProxy in another process, with the same commands.

    Args:
        target_port: on 127.0.0.1.
        port: to listen on; a free one by default.
    """

    def __init__(self, target_port: int, port: int | None = None) -> None:
        self.port = port or free_port()
        context = multiprocessing.get_context("spawn")
        self._pipe, child_pipe = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(target_port, self.port, child_pipe), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        if not self._pipe.poll(START_LIMIT_S):
            raise TimeoutError("the proxy did not start")
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(5)
        self._process.kill()

    def delay(self, seconds: float) -> None:
        """Delay data by *seconds* in each direction from now on."""
        self._call("delay", seconds)

    def blackhole(self) -> None:
        """Forward nothing."""
        self._call("blackhole")

    def reset(self) -> None:
        """Reset all connections."""
        self._call("reset")

    def heal(self) -> None:
        """End every fault."""
        self._call("heal")

    def _call(self, name: str, *arguments: float) -> None:
        self._pipe.send((name, arguments))
        if not self._pipe.poll(START_LIMIT_S):
            raise TimeoutError("the proxy did not respond")
        self._pipe.recv()


def _serve(target_port: int, port: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops it in order
    with TcpProxy(target_port, port) as proxy:
        pipe.send("ready")
        while True:
            try:
                name, arguments = pipe.recv()
            except EOFError:
                return
            getattr(proxy, name)(*arguments)
            pipe.send("done")
