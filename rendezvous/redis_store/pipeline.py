"""
Commands to Redis and back, in one round trip, at the price of the round trip.

redis-py's client spends two thirds of a command's time on retries, metrics and conversions that the
store, which is asked most, has no use for. Its connections and its pool do all that is needed.
"""

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

#: The words of one command, as they are sent.
Command = tuple[str | bytes | int, ...]
#: A connection that was used so short a time ago is taken to be there still. To see whether it is
#: takes as long as a command.
FRESH_S = 1.0


class RedisPipeline:
    """
    A way to Redis for those who ask often. Safe to use from several threads, and after a fork.

    Args:
        redis: whose connections are used; one of them may be kept.
    """

    def __init__(self, redis: Redis) -> None:
        self._pool: Any = redis.connection_pool
        # Of the one connection kept: itself, when it was used last, and the process that did.
        self._kept: deque[tuple[Any, float, int]] = deque()

    def ask(self, commands: Sequence[Command], extras: Sequence[Command] = ()) -> list[Any]:
        """
        Send *commands* and *extras* together, and return their answers in order.

        All of them are carried out, whatever the answer to one of them is.

        Args:
            extras: commands that are not essential: the error that one of them was answered with
                is returned in its place.

        Raises:
            RedisError: the first that one of *commands* was answered with, or why nothing was
                answered.
        """
        connection = self._take()
        try:
            connection.send_packed_command(connection.pack_commands([*commands, *extras]))
            answers = [_answer(connection) for _ in range(len(commands) + len(extras))]
        except BaseException:
            # What is left of the answers must not meet the next question.
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
