"""Groups of Redis servers that fail over: a cluster, and Sentinels."""

import abc
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from tools.devstack.embedded_redis import EmbeddedRedis, program, version
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.waiting import wait_until

START_LIMIT_S = 30.0
#: Maximum time until a replica has taken over, in seconds.
FAILOVER_LIMIT_S = 20.0
SHARDS, SLOTS = 3, 16384
SERVICE = "main"
#: Time after which a server that does not answer counts as failed, in ms.
DOWN_AFTER_MS = 1_500


class RedisGroup(abc.ABC):
    """Servers with one data set, running for the ``with`` block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.servers: list[EmbeddedRedis] = []

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """REDIS_URL of the group."""

    @property
    @abc.abstractmethod
    def primaries_expected(self) -> int:
        """Number of primaries when none has failed."""

    @abc.abstractmethod
    def switch(self, primary: EmbeddedRedis) -> None:
        """Let a replica take over from *primary*, which becomes a replica, perhaps later."""

    def primaries(self) -> list[EmbeddedRedis]:
        """Return the servers that are primaries now and answer."""
        return [server for server in self.servers if self._role(server) == "master"]

    def wait_for_takeover(self, old: EmbeddedRedis) -> bool:
        """Return whether another server has taken over from *old*."""

        def is_complete() -> bool:
            return len([one for one in self.primaries() if one is not old]) == (
                self.primaries_expected
            )

        return wait_until(is_complete, FAILOVER_LIMIT_S, 0.02)

    def wait_until_in_sync(self) -> bool:
        """Return whether every server answers, and every replica has its primary's data."""
        return wait_until(self._is_in_sync, START_LIMIT_S)

    def clients(self) -> Iterator[Redis]:
        """Yield a client of each primary."""
        for server in self.primaries():
            with Redis.from_url(server.url) as client:
                yield client

    def __enter__(self) -> Self:
        try:
            for server in self.servers:
                self._stack.enter_context(server)
            self._join()
            if not self.wait_until_in_sync():
                raise TimeoutError(f"the replicas are not in sync: {self.servers[0].log_tail()}")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @abc.abstractmethod
    def _join(self) -> None:
        """Make the running servers a group."""

    def _is_in_sync(self) -> bool:
        states = [self._replication(server) for server in self.servers]
        primaries = [one for one in states if one.get("role") == "master"]
        followers = [one for one in states if one.get("master_link_status") == "up"]
        expected = self.primaries_expected
        return len(primaries) == expected and len(followers) == len(self.servers) - expected

    def _role(self, server: EmbeddedRedis) -> str:
        return str(self._replication(server).get("role", ""))

    def _replication(self, server: EmbeddedRedis) -> dict[str, Any]:
        if not server.runs:
            return {}
        with suppress(RedisError), Redis.from_url(server.url, socket_timeout=0.2) as client:
            found: dict[str, Any] = client.info("replication")
            return found
        return {}


class ClusteredRedis(RedisGroup):
    """A Redis Cluster of SHARDS primaries with a replica each."""

    def __init__(self) -> None:
        super().__init__()
        self.servers = [_cluster_node() for _ in range(2 * SHARDS)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(server.address for server in self.servers[:2])}/0"

    @property
    def primaries_expected(self) -> int:
        return SHARDS

    def switch(self, primary: EmbeddedRedis) -> None:
        """Let the replica of *primary* take over."""
        for server in self.servers:
            if self._replication(server).get("master_port") == primary.port:
                with Redis.from_url(server.url) as client:
                    client.execute_command("CLUSTER", "FAILOVER")
        self.wait_for_takeover(primary)

    def _join(self) -> None:
        nodes = [self._stack.enter_context(Redis.from_url(one.url)) for one in self.servers]
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < SHARDS:
                first, end = SLOTS * number // SHARDS, SLOTS * (number + 1) // SHARDS
                node.execute_command("CLUSTER", "ADDSLOTS", *range(first, end))
        for server in self.servers[1:]:
            bus = server.options.get("cluster-port")
            address = [LOOPBACK, server.port, *([bus] if bus else [])]
            nodes[0].execute_command("CLUSTER", "MEET", *address)
        expected = f"cluster_known_nodes:{len(nodes)}"
        if not wait_until(lambda: all(expected in _info(one) for one in nodes), START_LIMIT_S):
            raise TimeoutError("the nodes of the cluster do not know each other")
        for replica, node in zip(nodes[SHARDS:], nodes[:SHARDS], strict=True):
            replica.execute_command("CLUSTER", "REPLICATE", _text(node, "MYID"))
        if not wait_until(lambda: all("cluster_state:ok" in _info(one) for one in nodes), 30):
            raise TimeoutError("the cluster is not ready")


class WatchedRedis(RedisGroup):
    """One primary with replicas, and Sentinels that let one of them take over."""

    def __init__(self, replicas: int = 2, sentinels: int = 3) -> None:
        super().__init__()
        primary = EmbeddedRedis(options={"repl-diskless-sync-delay": "0"})
        follows = {"replicaof": f"{LOOPBACK} {primary.port}", "repl-diskless-sync-delay": "0"}
        self.servers = [primary, *(EmbeddedRedis(options=follows) for _ in range(replicas))]
        self.sentinels = [_Sentinel(primary.port) for _ in range(sentinels)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{SERVICE}/0"

    @property
    def primaries_expected(self) -> int:
        return 1

    def switch(self, primary: EmbeddedRedis) -> None:
        """Let a replica take over from *primary*."""
        with Redis.from_url(self.sentinels[0].url) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)
        self.wait_for_takeover(primary)

    def _join(self) -> None:
        for sentinel in self.sentinels:
            self._stack.enter_context(sentinel)
        known = (len(self.servers) - 1, len(self.sentinels) - 1)

        def is_complete() -> bool:
            return all(one.known() == known for one in self.sentinels)

        if not wait_until(is_complete, START_LIMIT_S):
            raise TimeoutError(f"the Sentinels do not know each other: {self.sentinels[0].log}")


class _Sentinel(EmbeddedRedis):
    name = "Sentinel"
    url_path = ""

    def __init__(self, primary_port: int) -> None:
        super().__init__()
        self._primary_port = primary_port

    def command(self) -> list[str]:
        return [program(), str(self.folder / "sentinel.conf"), "--sentinel"]

    def prepare(self) -> None:
        file = self.folder / "sentinel.conf"
        if file.exists():  # with what it has learnt
            return
        watched = f"sentinel monitor {SERVICE} {LOOPBACK} {self._primary_port} 2"
        lines = [
            f"port {self.port}",
            f"bind {LOOPBACK}",
            f"dir {self.folder}",
            watched,
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 6000",
        ]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def known(self) -> tuple[int, int]:
        """Return how many replicas and other Sentinels it knows."""
        with Redis.from_url(self.url) as client:
            found: Any = client.sentinel_master(SERVICE)
        return found["num-slaves"], found["num-other-sentinels"]


def _cluster_node() -> EmbeddedRedis:
    options = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": str(DOWN_AFTER_MS),
        "cluster-replica-validity-factor": "0",
        "repl-diskless-sync-delay": "0",
    }
    if version(program()) >= 7:  # the port of others is a fixed one
        options["cluster-port"] = str(free_port())
    return EmbeddedRedis(options=options)


def _info(node: Redis) -> str:
    return _text(node, "INFO")


def _text(node: Any, command: str) -> str:
    answer = node.execute_command("CLUSTER", command)
    return answer.decode() if isinstance(answer, bytes) else str(answer)
