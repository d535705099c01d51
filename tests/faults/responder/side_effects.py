"""A deployment whose responder has effects, and what became of them."""

from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.faults.responder.side_effect_responder import TABLES, connect
from tests.support.deployment import Deployment, Process
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

#: Longer than the broker needs to give up a member that was killed, and to let the next one in.
TIMEOUT_S = 25.0
RESPONDER = "python -m tests.faults.responder.side_effect_responder"
#: By the name that the tests give them, the settings of a responder with that journal.
JOURNALS = {
    "sql": {"EFFECTS_JOURNAL": "sql"},
    "redis": {"RESPONDER_JOURNAL": "redis"},
}


class Effects:
    """The file in which the effects happen."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with closing(connect(str(file))) as database:
            for table in TABLES:
                database.execute(table)
            database.commit()

    def counts(self, table: str = "effects") -> Counter[str]:
        """Return how often each correlation id is in *table*."""
        with closing(connect(str(self.file))) as database:
            return Counter(
                cid for (cid,) in database.execute(f"SELECT correlation_id FROM {table}")
            )

    def are_tried_by(self, process: Process) -> bool:
        """Say whether *process* has begun to handle anything."""
        with closing(connect(str(self.file))) as database:
            found = database.execute(
                "SELECT 1 FROM deliveries WHERE pid = ?", (process.child.pid,)
            ).fetchone()
        return found is not None


class EffectsDeployment(Deployment):
    """Gateway and replies process with a route to the effects; responders are started by hand."""

    def __init__(self, kafka: Server, redis: Server, folder: Path, partitions: int) -> None:
        routes = folder / "routes.toml"
        routes.write_text('[[route]]\npath = "/effects"\ntopic = "effects"\n', encoding="utf-8")
        self.effects = Effects(folder / "effects.sqlite")
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
        """Start a responder with *journal* and return when it asks for requests."""
        file = str(self.effects.file)
        process = self.start("responder", RESPONDER, EFFECTS_FILE=file, **JOURNALS[journal], **env)
        assert wait_until(lambda: "answering topics" in process.logged(), 30), self.logs()
        return process

    def stop(self, process: Process) -> None:
        """Stop *process* in order: what it has begun is answered and committed."""
        assert process.child.stop(20) == 0, process.logged()
