"""
`make licences`: writes the licences of what runs into docs/reference/licences.md.

    python -m tools.licences PYTHON    interpreter of an environment with this package alone

The exit code is 1 if a licence is not in ACCEPTED.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path("docs/reference/licences.md")
HEADING = "| package | version | licence |"
#: What packages state as their licence. All of them allow use in a product of any licence; the LGPL
#: asks that users can replace the library, as `pip install` lets them.
ACCEPTED = {
    "Apache-2.0",
    "Apache-2.0 AND BSD-2-Clause",
    "Apache-2.0 AND CNRI-Python",
    "Apache-2.0 OR BSD-3-Clause",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "GNU Lesser General Public License v2 or later (LGPLv2+)",
    "MIT",
    "MIT License",
    "MIT-0",
    "PSF-2.0",
    "Zope Public License",
}


@dataclass(frozen=True)
class Package:
    """A package and the licence that its metadata states."""

    name: str
    version: str
    licence: str


def installed(python: str) -> list[Package]:
    """Return the packages of the environment of *python*."""
    command = ["pip-licenses", "--python", python, "--from=mixed", "--format=json"]
    command.append("--ignore-packages=rendezvous-gateway")
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    packages = [
        Package(one["Name"], one["Version"], one["License"]) for one in json.loads(found.stdout)
    ]
    return sorted(packages, key=lambda package: package.name.lower())


def with_table(text: str, packages: Iterable[Package]) -> str:
    """Return *text* with the rows of *packages* instead of those of its table."""
    before, heading, after = text.partition(HEADING + "\n")
    rest = [line for line in after.splitlines(keepends=True) if not line.startswith("|")]
    rows = [f"| {one.name} | {one.version} | {one.licence} |\n" for one in packages]
    return "".join([before, heading, "|---|---|---|\n", *rows, *rest])


def refused(packages: Iterable[Package]) -> Iterator[str]:
    """Yield a line for each package whose licence is not accepted."""
    for one in packages:
        if one.licence not in ACCEPTED:
            yield f"{one.name} {one.version}: {one.licence}: read it, then add it to ACCEPTED"


def main() -> int:
    """Write the table and return the exit code."""
    packages = installed(sys.argv[1])
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8"), packages), "utf-8")
    problems = list(refused(packages))
    sys.stderr.writelines(f"{line}\n" for line in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
