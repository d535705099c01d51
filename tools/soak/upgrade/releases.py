"""A deployment whose processes are of two releases."""

import time
from collections.abc import Mapping
from pathlib import Path

from tools.revision import NoSuchRevision, unpack
from tools.soak.deployment import REPLICAS, Deployment, NotReady

#: The previous release: its tag, and its revision for a clone without tags.
PREVIOUS_TAG, PREVIOUS = "v0.1.0", "a2cc144"
RELEASES = ("previous", "this")
PROCESSES = tuple(
    (name, n) for name in ("replies", "responder", "gateway") for n in range(REPLICAS)
)
#: For a load balancer that checks /readyz, and for responders that get a request twice.
SETTINGS = {"DRAIN_DELAY_S": "2", "RESPONDER_JOURNAL": "redis"}
#: Longer than two groups take to hand over their partitions on a busy machine.
REPLY_TIMEOUT_S = 10.0
#: Longer than DRAIN_DELAY_S and the longest request together.
STOP_GRACE_S = 20.0
#: Time for a new replies process or responder to join its group, in seconds.
SETTLE_S = 3.0


def other(release: str) -> str:
    """Return the other release."""
    return RELEASES[1 - RELEASES.index(release)]


def unpack_previous(folder: Path, revision: str | None = None) -> str:
    """
    Check out the previous release into *folder*; return its tag or revision.

    Raises:
        NoSuchRevision: when this clone has neither, as a shallow one.
    """
    if revision is not None:
        unpack(revision, folder)
        return revision
    try:
        unpack(PREVIOUS_TAG, folder)
    except NoSuchRevision:
        unpack(PREVIOUS, folder)
        return PREVIOUS
    return PREVIOUS_TAG


class MixedDeployment(Deployment):
    """
    Replicas of which each runs this release or the previous one; all begin with the previous.

    Args:
        previous: source tree of the previous release.
        env: further settings of this release.
    """

    def __init__(
        self,
        kafka: str,
        mode: str,
        seed: int,
        folder: Path,
        previous: Path,
        env: Mapping[str, str],
    ) -> None:
        super().__init__(kafka, mode, seed, folder, SETTINGS, REPLY_TIMEOUT_S)
        self._trees = {"previous": previous.absolute(), "this": None}
        self._env_of_this = dict(env)
        self.releases = {f"{name}-{replica}": "previous" for name, replica in PROCESSES}
        self.ledgers = {release: folder / f"ledger-{release}.sqlite" for release in RELEASES}
        self.ledger_files = list(self.ledgers.values())

    def start(self, name: str, replica: int) -> None:
        """Start one replica in its release; each release has a log and a ledger of its own."""
        release = self.releases[f"{name}-{replica}"]
        log = self.folder / f"{name}-{replica}-{release}.log"
        env = {"SOAK_LEDGER": str(self.ledgers[release].absolute())}
        if release == "this":
            env |= self._env_of_this
        self.start_in(self._trees[release], name, replica, log, **env)

    def replace(self, name: str, replica: int) -> str:
        """Replace one replica by the other release; return what went wrong, or ""."""
        process = f"{name}-{replica}"
        release, child = self.releases[process], self.children[process]
        has_ended = child.returncode is not None
        code = child.stop(STOP_GRACE_S)
        self.releases[process] = other(release)
        self.start(name, replica)
        try:
            self._settle(name, replica)
        except NotReady as error:
            return f"{process} of the {self.releases[process]} release: {error}"
        if has_ended:
            return f"{process} of the {release} release ended by itself with {code}"
        return f"{process} of the {release} release stopped with {code}" if code else ""

    def _settle(self, name: str, replica: int) -> None:
        if name == "gateway":
            self.wait_until_ready(replica)
        else:
            time.sleep(SETTLE_S)
