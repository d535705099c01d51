"""The previous release beside this one: every mix of processes answers, and nothing is lost."""

from pathlib import Path

import pytest

from tests.support.report import RecordProperty
from tools.revision import NoSuchRevision
from tools.soak.upgrade.measure import measure
from tools.soak.upgrade.releases import MixedDeployment, unpack_previous
from tools.soak.upgrade.result import table

pytestmark = pytest.mark.faults

SEED = 1
MINUTES = 1.0
REQUESTS_PER_S = 40.0


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree of the previous release."""
    folder = tmp_path_factory.mktemp("previous") / "tree"
    try:
        unpack_previous(folder)
    except NoSuchRevision as error:
        pytest.skip(f"the previous release is not in this clone; git fetch --unshallow: {error}")
    return folder


@pytest.mark.usefixtures("needs_apache")
@pytest.mark.parametrize("delivery", ["direct", "store"])
def test_no_request_is_lost_while_processes_are_replaced_by_the_other_release_and_back(
    previous: Path, tmp_path: Path, delivery: str, record_property: RecordProperty
):
    env = {"REPLY_DELIVERY": delivery}
    with MixedDeployment("apache", "group", SEED, tmp_path, previous, env) as deployment:
        found = measure(deployment, MINUTES, REQUESTS_PER_S, tmp_path)
    for number, line in enumerate(table(found), start=1):
        record_property(f"{delivery}, line {number}", line.strip())

    assert list(found.failures()) == []
    assert len(found.steps) >= 6
