"""
RedisPipeline: commands to Redis in one round trip, with little more cost than the round trip.

The pipeline of redis-py spends two thirds of a command's time on retries, metrics and conversions
that the reply store does not need. Its connections and its pool are used as they are.
"""

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

#: The name and the arguments of one command.
Command = tuple[str | bytes | int, ...]
#: Maximum age of the last use of a connection that is used again without a check, in seconds. The
#: check whether the server has closed it costs as much as a command.
FRESH_S = 1.0


class RedisPipeline:
    """
    Executes commands over a kept connection. Safe to use from several threads, and after a fork.

    Args:
        redis: the client whose pool provides the connections; one of them is kept.
    """

    def __init__(self, redis: Redis) -> None:
        self._pool: Any = redis.connection_pool
        # At most one: the connection, when it was used last, and by which process.
        self._kept: deque[tuple[Any, float, int]] = deque()

    def execute(self, commands: Sequence[Command], optional: Sequence[Command] = ()) -> list[Any]:
        """
        Send *commands* and *optional* together, and return their answers in order.

        Redis executes all of them, whatever its answer to one of them.

        Args:
            optional: commands that may fail; an error answer to one is returned, not raised.

        Raises:
            RedisError: the first error answer to one of *commands*, or why there was no answer.
        """
        connection = self._take()
        try:
            connection.send_packed_command(connection.pack_commands([*commands, *optional]))
            answers = [_answer(connection) for _ in range(len(commands) + len(optional))]
        except BaseException:
            # Unread answers would be taken for those to the next commands.
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._put_back(connection)
        for answer in answers[: len(commands)]:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    def _take(self) -> Any:
        try:
            connection, used_s, pid = self._kept.pop()
        except IndexError:
            return self._pool.get_connection()
        if pid == os.getpid():
            if time.monotonic() - used_s < FRESH_S:
                return connection
            self._pool.release(connection)
        return self._pool.get_connection()

    def _put_back(self, connection: Any) -> None:
        if self._kept:
            self._pool.release(connection)
        else:
            self._kept.append((connection, time.monotonic(), os.getpid()))


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
