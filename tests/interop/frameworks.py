"""The frameworks: what each needs, how its responder is built and run, and what it answers."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tests.interop.programs import Program

#: Cases, each a topic <framework>.<case>, and what a plain client of Kafka answers.
PLAIN = {"text": 200, "status": 201, "error": 422, "nothing": 204}
CASES = tuple(PLAIN)

MAVEN = "mvn -q -B package"
PIP = f"{sys.executable} -m venv venv && venv/bin/pip install -q -r requirements.txt"
NPM = "npm install --no-audit --no-fund --loglevel=error"
PYTHON_RUN = "venv/bin/python responder.py"
QUARKUS_RUN = "java -Xmx128m -jar target/quarkus-app/quarkus-run.jar"
SPRING_RUN = "java -Xmx128m -jar target/responder.jar"
_JAVA = ("java", "mvn")
_NODE = ("node", "npm")
_GO = "go build -o responder ."
_TESTS = "tests/interop/responders"


@dataclass(frozen=True)
class Framework(Program):
    """
    A responder; its name is the prefix of its topics.

    Args:
        expected: HTTP status of each case.
    """

    PARENT: ClassVar[str] = "examples"

    expected: Mapping[str, int] = field(default_factory=lambda: PLAIN)

    @property
    def topics(self) -> list[str]:
        """Its request topics; plain clients also read one whose headers they copy."""
        return [f"{self.name}.{case}" for case in (*CASES, "copy")]


#: Frameworks that answer nothing for an empty result, so that the client gets a timeout.
_SILENT = PLAIN | {"nothing": 503}
FRAMEWORKS = (
    Framework(
        "rendezvous",
        (),
        "true",
        f"python -m responder --handlers {_TESTS.replace('/', '.')}.rendezvous.handlers",
        source=f"{_TESTS}/rendezvous",
    ),
    Framework("spring", _JAVA, MAVEN, SPRING_RUN, _SILENT),
    Framework("quarkus", _JAVA, MAVEN, QUARKUS_RUN, _SILENT | {"error": 502}),
    Framework("nestjs", _NODE, f"{NPM} && npx tsc", "node dist/responder.js"),
    Framework("faststream", (), PIP, PYTHON_RUN, PLAIN | {"nothing": 200}),
    Framework(
        "java",
        _JAVA,
        f"{MAVEN} dependency:copy-dependencies",
        "java -Xmx128m -cp 'target/java-1.jar:target/dependency/*' Responder",
    ),
    Framework("node", _NODE, NPM, "node responder.mjs"),
    Framework("go", ("go",), _GO, "./responder"),
    Framework(
        "rust", ("cargo", "cc", "make"), "cargo build -q --release", "target/release/responder"
    ),
    Framework("python-confluent", (), PIP, PYTHON_RUN),
    Framework("sarama", ("go",), _GO, "./responder", source=f"{_TESTS}/sarama"),
    Framework("kafkago", ("go",), _GO, "./responder", source=f"{_TESTS}/kafkago"),
    Framework("aiokafka", (), PIP, PYTHON_RUN, source=f"{_TESTS}/aiokafka"),
)
