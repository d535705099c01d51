"""A deployment whose responder has side effects in a SQLite file, and their counts."""

from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.faults.responder.side_effect_responder import TABLES, connect
from tests.support.deployment import Deployment, Process
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

#: Reply timeout in seconds, above the session timeout of a killed member and the rebalance.
TIMEOUT_S = 25.0
RESPONDER = "python -m tests.faults.responder.side_effect_responder"
#: Settings of a responder by the kind of its journal.
JOURNALS = {"sql": {"EFFECTS_JOURNAL": "sql"}, "redis": {"RESPONDER_JOURNAL": "redis"}}


class SideEffects:
    """The SQLite file of the effects."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with closing(connect(str(file))) as database:
            for table in TABLES:
                database.execute(table)
            database.commit()

    def counts(self, table: str = "effects") -> Counter[str]:
        """Return the number of rows of each correlation id in *table*."""
        with closing(connect(str(self.file))) as database:
            return Counter(
                cid for (cid,) in database.execute(f"SELECT correlation_id FROM {table}")
            )

    def has_delivery_to(self, process: Process) -> bool:
        """Return whether *process* has begun to handle a request."""
        with closing(connect(str(self.file))) as database:
            found = database.execute(
                "SELECT 1 FROM deliveries WHERE pid = ?", (process.child.pid,)
            ).fetchone()
        return found is not None


class SideEffectDeployment(Deployment):
    """Gateway and replies process with a route /effects; the tests start the responders."""

    def __init__(self, kafka: Server, redis: Server, folder: Path, partitions: int) -> None:
        routes = folder / "routes.toml"
        routes.write_text('[[route]]\npath = "/effects"\ntopic = "effects"\n', encoding="utf-8")
        self.effects = SideEffects(folder / "effects.sqlite")
        super().__init__(
            kafka,
            redis,
            folder,
            responders=0,
            env={"REPLY_TIMEOUT_S": str(TIMEOUT_S), "ROUTES_FILE": str(routes)},
            topics=("effects",),
            partitions=partitions,
        )

    def start_responder(self, journal: str, **env: str) -> Process:
        """Start a responder with *journal*; return once it consumes requests."""
        file = str(self.effects.file)
        process = self.start("responder", RESPONDER, EFFECTS_FILE=file, **JOURNALS[journal], **env)
        assert wait_until(lambda: "answering topics" in process.logged(), 30), self.logs()
        return process

    def stop(self, process: Process) -> None:
        """Stop *process* gracefully."""
        assert process.child.stop(20) == 0, process.logged()
