"""Links in the documents resolve, and the files that documents name exist."""

import re
from dataclasses import fields
from itertools import chain
from pathlib import Path

import pytest

from rendezvous import __version__
from settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    str(file.relative_to(ROOT)) for file in chain(ROOT.glob("*.md"), ROOT.glob("docs/**/*.md"))
)
README_LINES = 150

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
#: Tests in the tables of docs/explanation/faults.md, without "tests/" and ".py".
_TEST = re.compile(r"\b((?:e2e|faults|integration|unit)/[\w/]+)(?![\w/*.])")
_CODE_PATH = re.compile(r"`((?:gateway|replies|responder|rendezvous|tools|tests)/[\w./]+)`")


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text_of(document)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    broken = []
    for target in _LINK.findall(_FENCE.sub("", text_of(document))):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_link_leads_to_a_file_and_a_heading(name):
    assert broken_links(ROOT / name) == []


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_each_path_that_a_document_names_exists(name):
    named = _CODE_PATH.findall(text_of(ROOT / name))

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_each_test_that_the_table_of_faults_names_exists():
    named = _TEST.findall(text_of(ROOT / "docs/explanation/faults.md"))

    assert len(named) > 20
    assert [name for name in named if not (ROOT / f"tests/{name}.py").exists()] == []


def test_a_broken_link_is_found(tmp_path: Path):
    document = tmp_path / "page.md"
    document.write_text("# A heading\n[a](#a-heading) [b](#other) [c](missing.md) [d](page.md)\n")

    assert broken_links(document) == ["#other", "missing.md"]


def test_the_readme_is_short():
    assert len(text_of(ROOT / "README.md").splitlines()) <= README_LINES


def test_the_reference_lists_every_setting_and_no_other():
    read = {field.name.upper() for field in fields(Settings)}
    rows = re.findall(r"^\| (`.*?) \|", text_of(ROOT / "docs/reference/settings.md"), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}

    assert listed == read


def test_the_changelog_has_the_version_below_what_is_not_released():
    headings = re.findall(r"^## (.*)$", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)

    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", headings[1])


def test_the_changelog_sorts_its_entries_under_the_usual_headings():
    headings = re.findall(r"^### (.*)$", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)

    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_licence_is_complete():
    licence = text_of(ROOT / "LICENSE")

    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert "Copyright 2026 The Rendezvous authors" in licence
