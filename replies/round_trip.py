"""
Commands to Redis and back, in one round trip, at the price of the round trip.

redis-py's client spends two thirds of a command's time on retries, metrics and conversions that the
store, which is asked most, has no use for. Its connections and its pool do all that is needed.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

#: The words of one command, as they are sent.
Command = tuple[str | bytes | int, ...]


def round_trip(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """
    Send *commands* together, and return their answers in order, as Redis gives them.

    All of them are carried out, whatever the answer to one of them is.

    Raises:
        RedisError: the first that one of them was answered with, or why nothing was answered.
    """
    pool = redis.connection_pool
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        answers = [_answer(connection) for _ in commands]
    except BaseException:
        # What is left of the answers must not meet the next question.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
