"""Programs of other frameworks: what each needs, and how it is built."""

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tools.devstack.process.child import run_to_end

ROOT = Path(__file__).resolve().parents[2]
#: Where programs are built; ignored by git.
BUILDS = ROOT / ".interop"
BUILD_LIMIT_S = 900.0


class NotBuilt(Exception):
    """Raised when a program cannot be built, with the end of the output."""


@dataclass(frozen=True)
class Program:
    """
    A program written with one framework.

    Args:
        name: of its folder, and the framework.
        needs: programs that must be on PATH.
        build: shell command that builds it in a copy of its folder.
        run: shell command that runs it there; BOOTSTRAP is the broker's address.
        source: folder of its sources, if that is not its name in PARENT.
    """

    #: The folder of the sources of its kind.
    PARENT: ClassVar[str] = ""

    name: str
    needs: tuple[str, ...]
    build: str
    run: str
    source: str = field(default="", kw_only=True)

    @property
    def sources(self) -> Path:
        """Where its sources are."""
        return ROOT / (self.source or f"{self.PARENT}/{self.name}")

    @property
    def folder(self) -> Path:
        """Where it is built and runs."""
        return BUILDS / self.sources.relative_to(ROOT)

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
        version = _digest(self.sources, self.build)
        if stamp.is_file() and stamp.read_text() == version:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.sources, self.folder)
        log = self.folder / "build.log"
        command = ["sh", "-c", f"cd '{self.folder}' && {self.build}"]
        if run_to_end(command, log, BUILD_LIMIT_S) != 0:
            raise NotBuilt(
                f"{self.name} cannot be built:\n{log.read_text('utf-8', 'replace')[-1500:]}"
            )
        stamp.write_text(version)


def _digest(folder: Path, build: str) -> str:
    found = hashlib.sha256(build.encode())
    for directory, _, names in sorted(os.walk(folder)):
        if "__pycache__" in directory:
            continue
        for name in sorted(names):
            found.update(name.encode() + Path(directory, name).read_bytes())
    return found.hexdigest()
