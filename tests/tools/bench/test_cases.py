"""Cases, starts, and bodies that ask for a delay."""

import pytest

from tools.bench.cases import AS_SHIPPED, BASE, CASES, Case, by_workers, cases_named, starts
from tools.bench.load.bodies import body, delay_of, head

BASE_CASE = next(case for case in CASES if case.name == BASE)


def names(cases):
    return [case.name for case in cases]


def test_the_base_is_the_default_case():
    assert Case(BASE) == BASE_CASE


def test_case_names_are_unique():
    assert len(set(names(CASES))) == len(CASES)


def test_cases_cover_the_required_loads():
    assert {case.connections for case in CASES} >= {1, 16, 64, 256, 500}
    assert {case.body_bytes for case in CASES} == {200, 10_000, 500_000}
    assert {case.delay_s for case in CASES} == {0.0, 0.05, 1.0}
    assert {case.workers for case in CASES} == {1, 2, 4}


def test_chosen_cases_keep_the_order_of_measurement():
    assert names(cases_named(["500kB", "c1"])) == ["c1", "500kB"]


def test_an_unknown_case_is_named():
    with pytest.raises(ValueError, match="no such case: c2, c3"):
        cases_named(["c3", BASE, "c2"])


def test_each_number_of_workers_needs_its_own_start():
    found = by_workers(CASES)

    assert set(found) == {1, 2, 4}
    assert names(found[1]) == ["w1"]


def test_many_waiters_come_first_and_large_bodies_last():
    of_base = by_workers(CASES)[2]

    assert (of_base[0].name, of_base[-1].name) == ("1s", "500kB")


def test_a_round_measures_every_subject_under_every_case_once():
    found = [
        (subject, case.name)
        for subject, _, cases in starts(["naive", "ours"], CASES)
        for case in cases
    ]

    assert sorted(found) == sorted((s, c.name) for s in ("naive", "ours") for c in CASES)


def test_subjects_alternate_under_the_same_number_of_workers():
    found = [(subject, workers) for subject, workers, _ in starts(["naive", "ours"], CASES)]

    assert found[:4] == [("naive", 2), ("ours", 2), ("naive", 1), ("ours", 1)]


def test_floors_start_once_per_round():
    found = starts(["floor", "floor-librdkafka"], CASES)

    assert [(subject, workers) for subject, workers, _ in found] == [
        ("floor", 2),
        ("floor-librdkafka", 2),
    ]


def test_subjects_as_shipped_run_the_cases_that_their_responder_and_procfile_allow():
    found = {subject: names(own) for subject, workers, own in starts(AS_SHIPPED, CASES)}

    assert set(found) == set(AS_SHIPPED)
    assert all(
        own == ["c1", "c16", "c64", "c256", "c500", "10kB", "500kB"] for own in found.values()
    )


@pytest.mark.parametrize("size", [20, 200, 500_000])
@pytest.mark.parametrize("delay_s", [0.0, 0.05, 1.0, 0.000001])
def test_a_body_has_its_size_and_asks_for_its_delay(size, delay_s):
    content = body(size, delay_s)

    assert len(content) == size
    assert delay_of(content) == pytest.approx(delay_s)


def test_a_body_without_delay_is_padding_only():
    assert body(3) == b"xxx"
    assert head(0.0) == b""


def test_a_body_too_small_for_its_delay_is_refused():
    with pytest.raises(ValueError, match="does not fit into 5 bytes"):
        body(5, 0.05)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"delay=", b"delay=1", b"delay=a;", b" delay=1;", b"delay=" + b"1" * 99]
)
def test_other_bodies_ask_for_no_delay(content):
    assert delay_of(content) == 0.0
