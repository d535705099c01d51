"""What runs is pinned with hashes, is what the tests ran with, and has licences that were read."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.licences import ACCEPTED, HEADING, Package, refused, with_table

ROOT = Path(__file__).parents[2]
#: The interpreter of the Dockerfile and of the table of licences.
PYTHON_3_11 = {"python_version": "3.11", "python_full_version": "3.11.14"}
_LINE = re.compile(r"^([a-z].*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if re.match(r"\w", line)]


#: What the image installs: what always runs, and what clients with tokens need.
IN_IMAGE = ("requirements.txt", "requirements-jwt.txt")
LOCKS = (*IN_IMAGE, "requirements-tracing.txt", "requirements-msk-iam.txt")
PINNED = [(lock.replace(".txt", ".in"), lock) for lock in LOCKS]


def locked(*locks: str) -> dict[str, Requirement]:
    """Return the requirements of the locks, of all if none is named, by name."""
    text = "".join((ROOT / lock).read_text(encoding="utf-8") for lock in locks or LOCKS)
    found = [Requirement(line) for line, _ in _LINE.findall(text)]
    return {canonicalize_name(one.name): one for one in found}


def pin(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize(("choice", "lock_file"), PINNED)
def test_the_lock_pins_each_requirement_as_it_was_chosen(choice, lock_file):
    lock = locked(lock_file)

    for chosen in requirements(choice):
        assert pin(lock[canonicalize_name(chosen.name)]) == pin(chosen)


@pytest.mark.parametrize(("choice", "lock_file"), PINNED)
def test_each_line_of_the_lock_is_a_pin_with_hashes(choice, lock_file):
    text = (ROOT / lock_file).read_text(encoding="utf-8")
    rest = [line for line in _LINE.sub("", text).splitlines() if not re.match(r"\s*#", line)]

    assert rest == []
    assert len(locked(lock_file)) > len(requirements(choice))


def test_no_requirements_name_an_index():
    for file in ROOT.glob("requirements*"):
        assert not re.search(r"://|--(extra-)?index|--find-links", file.read_text("utf-8")), file


def test_the_tests_run_with_what_is_locked():
    """Otherwise: make .venv"""
    applies = {
        name: pin(one) for name, one in locked().items() if not one.marker or one.marker.evaluate()
    }

    assert {name: version(name) for name in applies} == applies


def documented() -> list[Package]:
    """Return the rows of the table of licences."""
    text = (ROOT / "docs/reference/licences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.*?) \|$", text.partition(HEADING)[2], re.MULTILINE)
    return [Package(*row) for row in rows]


def test_the_table_has_the_licence_of_each_package_that_runs():
    applies = {
        name: pin(one)
        for name, one in locked(*IN_IMAGE).items()
        if not one.marker or one.marker.evaluate(PYTHON_3_11)
    }

    assert {canonicalize_name(one.name): one.version for one in documented()} == applies
    assert {one.licence for one in documented()} <= ACCEPTED


def test_a_licence_that_is_not_listed_is_refused():
    packages = [Package("good", "1", "MIT"), Package("new", "2", "AGPL-3.0")]

    assert list(refused(packages)) == ["new 2: AGPL-3.0: read it, then add it to ACCEPTED"]


def test_the_table_is_replaced_and_the_text_around_it_stays():
    text = f"before\n\n{HEADING}\n|---|---|---|\n| old | 1 | MIT |\n\nafter\n"

    found = with_table(text, [Package("new", "2", "MIT")])

    assert found == f"before\n\n{HEADING}\n|---|---|---|\n| new | 2 | MIT |\n\nafter\n"
