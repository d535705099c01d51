"""The jars of Apache Kafka, fetched once by Maven into the user's cache folder."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.devstack.process.child import run_to_end

POM = Path(__file__).with_name("pom.xml")
DOWNLOAD_LIMIT_S = 600.0


class JarsNotFetched(Exception):
    """Raised when Maven fails, with the end of its output."""


def kafka_jars() -> Path:
    """
    Return the folder of Kafka's jars; fetch them if missing.

    Raises:
        JarsNotFetched: when Maven fails.
    """
    # Named for the content of pom.xml, so that another version is another folder.
    folder = _cache() / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        with _exclusive(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _fetch(folder)
    return folder


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "rendezvous"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Hold *lock* exclusively; it is released if the process dies."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    """Create *folder* atomically with the jars."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        jars = unfinished / "jars"
        _run_maven(jars, unfinished / "log")
        jars.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _run_maven(target: Path, log: Path) -> None:
    command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    try:
        exit_code = run_to_end(command, log, DOWNLOAD_LIMIT_S)
    except TimeoutError as error:
        raise JarsNotFetched(f"mvn took longer than {DOWNLOAD_LIMIT_S:g} s") from error
    if exit_code != 0 or not any(target.glob("kafka_*.jar")):
        output = "\n".join(log.read_text("utf-8", "replace").splitlines()[-20:])
        raise JarsNotFetched(f"mvn failed to fetch Apache Kafka (exit code {exit_code}):\n{output}")
