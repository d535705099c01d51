"""Another revision of this repository, checked out into a folder."""

import subprocess
from pathlib import Path


class NoSuchRevision(Exception):
    """Raised with the error of git when a revision cannot be checked out."""


def unpack(revision: str, folder: Path) -> None:
    """
    Check out *revision* into *folder*.

    Raises:
        NoSuchRevision: when git cannot check it out.
    """
    # By hash, because the clone has no local branches of this repository.
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    _git("clone", "--quiet", "--shared", "--no-checkout", ".", str(folder))
    _git("-C", str(folder), "checkout", "--quiet", "--detach", commit)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=True, text=True)
    except FileNotFoundError as error:
        raise NoSuchRevision(
            "git is not on PATH; install it to check out the other tree"
        ) from error
    except subprocess.CalledProcessError as error:
        raise NoSuchRevision(f"git {' '.join(arguments)}: {error.stderr.strip()}") from error
    return done.stdout.strip()
