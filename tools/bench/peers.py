"""
Gateways of other projects: how they are built and started, with which responder.

They are not part of this source tree: a folder has one folder for each, built.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.bench.setup import Process
from tools.devstack.process.procfile import read_procfile

PROGRAMS = Path(__file__).parent / "programs" / "peers"
HANDLERS = "tools.bench.programs.peers.shipped_handlers"
#: Where the libraries inside a jar are unpacked to, in the folder of the peer.
SPRING_LIBRARIES = Path("target", "libraries")
#: Their own responder, and ours.
OWN, SHIPPED = "own", "shipped"


@dataclass(frozen=True)
class Peer:
    """
    A gateway of another project; ``{port}`` and ``{programs}`` in commands are replaced.

    Args:
        product: what its build makes, in its folder.
        build: commands that build it, in its folder.
        topics: of the requests and of the replies.
        gateway: command in its folder.
        responder: command of its framework's responder in its folder.
        responder_env: settings of that responder.
    """

    name: str
    framework: str
    product: str
    build: str
    topics: Sequence[str]
    gateway: str
    responder: str
    responder_env: Mapping[str, str] = field(default_factory=dict)


PEERS = (
    Peer(
        "nest",
        "NestJS ClientKafka",
        "node_modules",
        "npm install",
        ("peer.nest", "peer.nest.reply"),
        "node main.js",
        "node {programs}/nest_responder.js",
        {"NODE_PATH": "node_modules"},
    ),
    Peer(
        "spring",
        "Spring ReplyingKafkaTemplate",
        "target/spring-gateway-1.jar",
        "mvn -q package",
        ("peer.spring.requests", "peer.spring.replies"),
        "java -jar target/spring-gateway-1.jar",
        f"java -cp '{SPRING_LIBRARIES}/*' {{programs}}/SpringResponder.java",
        {"SPRING_MAIN_WEB_APPLICATION_TYPE": "none", "LOGGING_LEVEL_ROOT": "warn"},
    ),
    Peer(
        "aio",
        "FastAPI and aiokafka",
        ".venv/bin/uvicorn",
        "python3 -m venv .venv && .venv/bin/pip install fastapi 'uvicorn[standard]' aiokafka",
        ("peer.aio.requests", "peer.aio.replies"),
        ".venv/bin/uvicorn gw:app --port {port}",
        ".venv/bin/python {programs}/aio_responder.py",
    ),
)


@dataclass(frozen=True)
class PeerSetup:
    """A peer in its folder, with one of the two responders."""

    peer: Peer
    folder: Path
    responder: str  # OWN or SHIPPED

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"{self.peer.name}/{self.responder}"

    @property
    def topics(self) -> Sequence[str]:
        """Its topics, which have no prefix."""
        return self.peer.topics

    @property
    def path(self) -> str:
        """Path that it answers."""
        return "/r"

    def processes(self, broker: str, port: int, group: str) -> Iterator[Process]:
        """Yield its processes; *group* is the consumer group of the responder."""
        yield self._own(broker, group) if self.responder == OWN else self._shipped(group)
        env = {"BS": broker, "PORT": str(port)}
        yield Process("web", self.peer.gateway.format(port=port), env, self.folder)

    def _own(self, broker: str, group: str) -> Process:
        env = {
            "BOOTSTRAP": broker,
            "SPRING_KAFKA_BOOTSTRAP_SERVERS": broker,
            "TOPIC": self.peer.topics[0],
            "GROUP": group,
            **self.peer.responder_env,
        }
        command = self.peer.responder.format(programs=PROGRAMS.resolve())
        return Process("responder", command, env, self.folder)

    def _shipped(self, group: str) -> Process:
        env = {
            "KAFKA_PREFIX": "",
            "RESPONDER_GROUP": group,
            "RESPONDER_HANDLERS": HANDLERS,
            "RESPONDER_REPLY_TOPICS": "*",
            "TOPIC": self.peer.topics[0],
        }
        return Process("responder", read_procfile(Path("Procfile"))["responder"], env)


def setups_in(folder: Path, names: Sequence[str]) -> tuple[list[PeerSetup], list[str]]:
    """Return the peers called *names* that are built in *folder*, and how to build the others."""
    found, missing = [], []
    for peer in PEERS:
        if peer.name not in names:
            continue
        own = (folder / peer.name).absolute()
        if (own / peer.product).exists():
            found += [PeerSetup(peer, own, responder) for responder in (OWN, SHIPPED)]
        else:
            missing.append(
                f"{peer.framework} is not built: {own / peer.product} is missing; "
                f"cd {own} && {peer.build}"
            )
    return found, missing


def unpack_libraries(found: Sequence[PeerSetup]) -> None:
    """Unpack the libraries of Spring's jar, with which its responder is compiled at its start."""
    for setup in found:
        libraries = setup.folder / SPRING_LIBRARIES
        if setup.peer.name == "spring" and not libraries.exists():
            with zipfile.ZipFile(setup.folder / setup.peer.product) as jar:
                for name in jar.namelist():
                    if name.startswith("BOOT-INF/lib/") and name.endswith(".jar"):
                        libraries.mkdir(parents=True, exist_ok=True)
                        (libraries / Path(name).name).write_bytes(jar.read(name))
