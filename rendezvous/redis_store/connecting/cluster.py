"""
A Redis Cluster behind the interface of one Redis.

Each command goes to the node that has its key; a pipeline takes one round trip to each node. They
are not sent by redis-py's RedisCluster, which repeats commands that got no answer, one after the
other: while a node hangs, a batch of replies would take a time-out for each of them. It finds the
nodes, and follows keys that are being moved.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis, RedisCluster
from redis.client import Pipeline
from redis.cluster import ClusterNode
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    RedisClusterException,
    RedisError,
    TimeoutError,
)

#: How often a command is sent at most if nodes say that its key has moved.
MAX_SENDS = 3
#: Minimum time between two questions for the nodes, in seconds; each takes 10 ms of CPU.
REFRESH_PAUSE_S = 0.2

#: A command and its options, as in Pipeline.command_stack.
Command = tuple[tuple[Any, ...], dict[str, Any]]

#: Errors after which the nodes may have other slots.
_OUTDATED = (ConnectionError, TimeoutError, ClusterDownError)


class Topology:
    """
    The nodes of a cluster, asked for at the first use. Safe to use from several threads.

    Args:
        connect: returns a new RedisCluster from the nodes in REDIS_URL.
    """

    def __init__(self, connect: Callable[[], RedisCluster]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._cluster: Any = None  # redis-py's types for it are incomplete
        self._failure: RedisError | None = None
        self._refreshed_s = 0.0  # monotonic clock

    def cluster(self) -> Any:
        """Return the cluster; raise a RedisError if no node answers."""
        if self._cluster is not None:
            return self._cluster
        now_s = time.monotonic()
        with self._lock:
            if self._cluster is not None:
                return self._cluster
            # What another thread found meanwhile is as good.
            if self._failure is None or self._refreshed_s <= now_s:
                self._refreshed_s = time.monotonic()
                try:
                    self._cluster, self._failure = self._connect(), None
                except (RedisClusterException, RedisError) as error:
                    self._failure = _cause_of(error)
            if self._cluster is None:
                assert self._failure is not None
                raise self._failure.with_traceback(None)
            return self._cluster

    def node_of(self, key: Any) -> ClusterNode:
        """Return the primary that has *key*."""
        cluster = self.cluster()
        try:
            node: ClusterNode = cluster.get_node_from_key(key)
        except RedisClusterException as error:  # its slot has no node, or had none
            self._refresh(cluster)
            raise ClusterDownError(str(error)) from error
        return node

    def client_of(self, node: ClusterNode) -> Redis:
        """Return a client of *node*."""
        client: Redis = self.cluster().get_redis_connection(node)
        return client

    def primaries(self) -> list[ClusterNode]:
        """Return all primaries."""
        return list(self.cluster().get_primaries())

    def note(self, error: RedisError, node: ClusterNode) -> None:
        """Learn from an answer of *node* where the keys are now."""
        cluster = self._cluster
        if cluster is None:
            return
        if isinstance(error, MovedError):
            cluster.nodes_manager.move_slot(error)
        elif isinstance(error, _OUTDATED):
            self._refresh(cluster, node.name)

    def close(self) -> None:
        """Close all connections."""
        if self._cluster is not None:
            self._cluster.disconnect_connection_pools()

    def _refresh(self, cluster: Any, failed: str | None = None) -> None:
        if time.monotonic() - self._refreshed_s < REFRESH_PAUSE_S:
            return
        self._refreshed_s = time.monotonic()
        try:
            cluster.nodes_manager.initialize(last_failed_node_name=failed)
        except (RedisClusterException, RedisError):
            # None of the nodes that it knew: begin with those of REDIS_URL again.
            self._cluster = None


class ClusterRedis(Redis):
    """
    The client of a cluster, for commands whose first argument is a key.

    Several keys of one command must be in one slot.
    """

    def __init__(self, connect: Callable[[], RedisCluster]) -> None:
        super().__init__()  # whose own connections are not used
        self._topology = Topology(connect)

    def nodes(self) -> list[Redis]:
        """Return a client of each primary."""
        return [self._topology.client_of(node) for node in self._topology.primaries()]

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute one command and return its answer."""
        (answer,) = self.execute_all([(args, options)])
        if isinstance(answer, RedisError):
            raise answer
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: object = None) -> Pipeline:
        """Return a pipeline, which executes its commands in their order for each node."""
        if transaction:
            raise ValueError("keys may be on several nodes; use transaction()")
        return _ClusterPipeline(self)

    def transaction(self, func: Callable[[Pipeline], None], *watches: Any, **options: Any) -> Any:
        """Execute *func* on the node of the first of *watches*; see Redis.transaction()."""
        for _ in range(MAX_SENDS):
            node = self._topology.node_of(watches[0])
            try:
                client = self._topology.client_of(node)
                return client.transaction(func, *watches, **options)
            except (*_OUTDATED, MovedError) as error:
                self._topology.note(error, node)
                failure = error
                if not isinstance(error, MovedError):
                    break
        raise failure

    def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Execute *commands*; return the answer or the error of each."""
        answers: list[Any] = [None] * len(commands)
        unsent = list(range(len(commands)))
        for _ in range(MAX_SENDS):
            for node, numbers in self._by_node(commands, unsent, answers).items():
                found = self._execute_on(node, [commands[n] for n in numbers])
                for n, answer in zip(numbers, found, strict=True):
                    answers[n] = answer
            # A node executes nothing that it answers so.
            unsent = [n for n in unsent if isinstance(answers[n], MovedError)]
            if not unsent:
                break
        for n, answer in enumerate(answers):
            if isinstance(answer, AskError) and not isinstance(answer, MovedError):
                answers[n] = self._follow(commands[n])
        return answers

    def close(self) -> None:
        """Close all connections."""
        self._topology.close()
        super().close()

    def _by_node(
        self, commands: Sequence[Command], numbers: Sequence[int], answers: list[Any]
    ) -> dict[ClusterNode, list[int]]:
        """Return *numbers* of commands by node; the answer to one without a node is its error."""
        found: dict[ClusterNode, list[int]] = {}
        for n in numbers:
            try:
                node = self._topology.node_of(commands[n][0][1])
            except ClusterDownError as error:
                answers[n] = error
            else:
                found.setdefault(node, []).append(n)
        return found

    def _execute_on(self, node: ClusterNode, commands: Sequence[Command]) -> Sequence[Any]:
        pipeline: Any = self._topology.client_of(node).pipeline(transaction=False)
        for args, options in commands:
            pipeline.execute_command(*args, **options)
        answers: list[Any]
        try:
            answers = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            answers = [error] * len(commands)
        for answer in answers:
            if isinstance(answer, RedisError):
                self._topology.note(answer, node)
        return answers

    def _follow(self, command: Command) -> Any:
        """Execute a command whose key is being moved to another node."""
        args, options = command
        try:
            return self._topology.cluster().execute_command(*args, **options)
        except (RedisClusterException, RedisError) as error:
            return _cause_of(error)


class _ClusterPipeline(Pipeline):
    def __init__(self, redis: ClusterRedis) -> None:
        super().__init__(redis.connection_pool, redis.response_callbacks, False, None)
        self._redis = redis

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands, self.command_stack = self.command_stack, []
        answers = self._redis.execute_all(commands)
        for answer in answers:
            if raise_on_error and isinstance(answer, RedisError):
                raise answer
        return answers


def _cause_of(error: BaseException) -> RedisError:
    """Return what made redis-py raise *error*, as a RedisError."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RedisError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return ConnectionError(str(error))
