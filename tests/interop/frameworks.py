"""The frameworks: what each needs, how its responder is built and run, and what it answers."""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.devstack.process.child import run_to_end

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = HERE / "responders"
#: Where responders are built; ignored by git.
BUILDS = ROOT / ".interop"
BUILD_LIMIT_S = 900.0

#: Cases, each a topic <framework>.<case>, and what a plain client of Kafka answers.
PLAIN = {"text": 200, "status": 201, "error": 422, "nothing": 204}
CASES = tuple(PLAIN)

_MAVEN = "mvn -q -B package"
_PIP = f"{sys.executable} -m venv venv && venv/bin/pip install -q -r requirements.txt"
_GO = "go build -o responder ."
_NPM = "npm install --no-audit --no-fund --loglevel=error"
_PYTHON_RUN = "venv/bin/python responder.py"


class NotBuilt(Exception):
    """Raised when a responder cannot be built, with the end of the output."""


@dataclass(frozen=True)
class Framework:
    """
    A responder written with one framework.

    Args:
        name: of its folder and the prefix of its topics.
        needs: programs that must be on PATH.
        build: shell command that builds it in a copy of its folder.
        run: shell command that runs it there; BOOTSTRAP is the broker's address.
        expected: HTTP status of each case.
    """

    name: str
    needs: tuple[str, ...]
    build: str
    run: str
    expected: Mapping[str, int] = field(default_factory=lambda: PLAIN)

    @property
    def topics(self) -> list[str]:
        """Its request topics."""
        return [f"{self.name}.{case}" for case in CASES]

    @property
    def folder(self) -> Path:
        """Where it is built and runs."""
        return BUILDS / self.name

    def unavailable_reason(self) -> str | None:
        """Return what is missing on this machine, or None."""
        missing = [program for program in self.needs if shutil.which(program) is None]
        return f"needs {' and '.join(missing)} on PATH" if missing else None

    def prepare(self) -> None:
        """
        Build it unless this version is built already.

        Raises:
            NotBuilt: when the build fails.
        """
        stamp = self.folder / ".built"
        version = _digest(SOURCES / self.name, self.build)
        if stamp.is_file() and stamp.read_text() == version:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(SOURCES / self.name, self.folder)
        log = self.folder / "build.log"
        command = ["sh", "-c", f"cd '{self.folder}' && {self.build}"]
        if run_to_end(command, log, BUILD_LIMIT_S) != 0:
            raise NotBuilt(
                f"{self.name} cannot be built:\n{log.read_text('utf-8', 'replace')[-1500:]}"
            )
        stamp.write_text(version)


#: Frameworks that answer nothing for an empty result, so that the client gets a timeout.
_SILENT = PLAIN | {"nothing": 503}
FRAMEWORKS = (
    Framework(
        "rendezvous",
        (),
        "true",
        "python -m responder --handlers tests.interop.responders.rendezvous.handlers",
    ),
    Framework(
        "spring", ("java", "mvn"), _MAVEN, "java -Xmx128m -jar target/responder.jar", _SILENT
    ),
    Framework(
        "quarkus",
        ("java", "mvn"),
        _MAVEN,
        "java -Xmx128m -jar target/quarkus-app/quarkus-run.jar",
        _SILENT | {"error": 502},
    ),
    Framework(
        "nestjs",
        ("node", "npm"),
        f"{_NPM} && npx tsc",
        "node dist/responder.js",
        PLAIN,
    ),
    Framework("faststream", (), _PIP, _PYTHON_RUN, PLAIN | {"nothing": 200}),
    Framework(
        "javaclients",
        ("java", "mvn"),
        f"{_MAVEN} dependency:copy-dependencies",
        "java -Xmx128m -cp 'target/javaclients-1.jar:target/dependency/*' Responder",
    ),
    Framework("kafkajs", ("node", "npm"), _NPM, "node responder.mjs"),
    Framework("franz", ("go",), _GO, "./responder"),
    Framework("confluent", (), _PIP, _PYTHON_RUN),
    Framework("sarama", ("go",), _GO, "./responder"),
    Framework("kafkago", ("go",), _GO, "./responder"),
)


def _digest(folder: Path, build: str) -> str:
    found = hashlib.sha256(build.encode())
    for directory, _, names in sorted(os.walk(folder)):
        if "__pycache__" in directory:
            continue
        for name in sorted(names):
            found.update(name.encode() + Path(directory, name).read_bytes())
    return found.hexdigest()
