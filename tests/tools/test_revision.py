"""The checkout of another revision."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.revision import NoSuchRevision, unpack


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not on PATH")
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    author = ["-c", "user.name=author", "-c", "user.email=author@example.com"]
    subprocess.run(["git", "init", "-q"], check=True)
    for text in ("old", "new"):
        (folder / "file").write_text(text, encoding="utf-8")
        subprocess.run(["git", "add", "file"], check=True)
        subprocess.run(["git", *author, "commit", "-q", "-m", text], check=True)
        subprocess.run(["git", "branch", f"branch-of-{text}"], check=True)
    (folder / "file").write_text("not committed", encoding="utf-8")
    return folder


def test_the_revision_is_checked_out_without_touching_this_tree(repository: Path, tmp_path: Path):
    for revision, text in (("branch-of-old", "old"), ("HEAD", "new")):
        unpack(revision, tmp_path / text)
        assert (tmp_path / text / "file").read_text(encoding="utf-8") == text
    assert (repository / "file").read_text(encoding="utf-8") == "not committed"


@pytest.mark.usefixtures("repository")
def test_an_unknown_revision_is_reported_with_the_error_of_git(tmp_path: Path):
    with pytest.raises(NoSuchRevision, match=r"git rev-parse .*v9.*: fatal"):
        unpack("v9", tmp_path / "other")
