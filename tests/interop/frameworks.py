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
_GO = "go build -o responder ."
_PYTHON_RUN = "venv/bin/python responder.py"


@dataclass(frozen=True)
class Framework(Program):
    """
    A responder; its name is the prefix of its topics.

    Args:
        expected: HTTP status of each case.
    """

    KIND: ClassVar[str] = "responders"

    expected: Mapping[str, int] = field(default_factory=lambda: PLAIN)

    @property
    def topics(self) -> list[str]:
        """Its request topics."""
        return [f"{self.name}.{case}" for case in CASES]


#: Frameworks that answer nothing for an empty result, so that the client gets a timeout.
_SILENT = PLAIN | {"nothing": 503}
FRAMEWORKS = (
    Framework(
        "rendezvous",
        (),
        "true",
        "python -m responder --handlers tests.interop.responders.rendezvous.handlers",
    ),
    Framework("spring", ("java", "mvn"), MAVEN, "java -Xmx128m -jar target/responder.jar", _SILENT),
    Framework(
        "quarkus",
        ("java", "mvn"),
        MAVEN,
        "java -Xmx128m -jar target/quarkus-app/quarkus-run.jar",
        _SILENT | {"error": 502},
    ),
    Framework(
        "nestjs",
        ("node", "npm"),
        f"{NPM} && npx tsc",
        "node dist/responder.js",
        PLAIN,
    ),
    Framework("faststream", (), PIP, _PYTHON_RUN, PLAIN | {"nothing": 200}),
    Framework(
        "javaclients",
        ("java", "mvn"),
        f"{MAVEN} dependency:copy-dependencies",
        "java -Xmx128m -cp 'target/javaclients-1.jar:target/dependency/*' Responder",
    ),
    Framework("kafkajs", ("node", "npm"), NPM, "node responder.mjs"),
    Framework("franz", ("go",), _GO, "./responder"),
    Framework("confluent", (), PIP, _PYTHON_RUN),
    Framework("sarama", ("go",), _GO, "./responder"),
    Framework("kafkago", ("go",), _GO, "./responder"),
)
