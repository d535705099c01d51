"""Which release did what, and what counts as a failure of an upgrade."""

from pathlib import Path

from tools.soak.records import Exchange
from tools.soak.upgrade.result import handled, release_at, stored, twice
from tools.soak.upgrade.roller import Step

STEPS = [
    Step("gateway-0", "this", 10.0, 14.0),
    Step("replies-0", "this", 20.0, 24.0),
    Step("gateway-0", "previous", 30.0, 34.0),
]


def exchange(number: int, correlation_id: str, sent_s: float = 0.0, gateway: int = 0) -> Exchange:
    return Exchange(number, gateway, sent_s, 0.1, 200, correlation_id)


def test_a_process_has_the_release_of_its_last_replacement():
    releases = [release_at(STEPS, "gateway-0", at_s) for at_s in (5.0, 12.0, 15.0, 31.0, 40.0)]

    assert releases == ["previous", "previous", "this", "this", "previous"]


def test_a_request_counts_for_the_releases_of_its_gateway_and_its_responder():
    exchanges = [exchange(1, "a", 5.0), exchange(2, "b", 15.0), exchange(3, "unknown", 15.0)]

    found = handled(exchanges, STEPS, {"a": "this", "b": "previous"})

    assert found == {("previous", "this"): 1, ("this", "previous"): 1}


def test_the_replies_of_each_life_of_a_process_are_added(tmp_path: Path):
    log = tmp_path / "replies-0-this.log"
    log.write_text(
        "version 1\nreplies so far: stored 2\nreplies so far: stored 5, duplicate 1\n"
        "version 1\nreplies so far: duplicate 1, stored 7\n"
    )

    assert stored(tmp_path) == {"this": 12}


def test_a_request_with_one_key_and_two_ids_is_a_failure():
    exchanges = [exchange(1, "a"), exchange(1, "a"), exchange(2, "b"), exchange(2, "c")]

    (line,) = twice(exchanges)
    assert line.startswith("TWICE: request 2 ")
