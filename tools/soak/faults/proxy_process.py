"""A TCP proxy in a process of its own, so that neither load nor judge shares a processor lock."""

import multiprocessing
import signal
from multiprocessing.connection import Connection
from typing import Self

from tools.devstack.ports import free_port
from tools.devstack.tcp_proxy import TcpProxy

START_LIMIT_S = 20.0


class ProxyProcess:
    """
    A devstack.tcp_proxy.TcpProxy elsewhere, with the same commands.

    Args:
        target_port: of 127.0.0.1.
        port: where it listens; a free one by default.
    """

    def __init__(self, target_port: int, port: int | None = None) -> None:
        self.port = port or free_port()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(target_port, self.port, theirs), daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        if not self._pipe.poll(START_LIMIT_S):
            raise TimeoutError("the proxy does not start")
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(5)
        self._process.kill()

    def delay(self, seconds: float) -> None:
        """Hold what is sent from now on for *seconds*, in each direction."""
        self._call("delay", seconds)

    def blackhole(self) -> None:
        """Pass nothing on."""
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
            raise TimeoutError("the proxy does not answer")
        self._pipe.recv()


def _serve(target_port: int, port: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us stops us in order
    with TcpProxy(target_port, port) as proxy:
        pipe.send("ready")
        while True:
            try:
                name, arguments = pipe.recv()
            except EOFError:
                return
            getattr(proxy, name)(*arguments)
            pipe.send("done")
