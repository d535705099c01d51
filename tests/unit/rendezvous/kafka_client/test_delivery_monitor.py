"""A producer that no longer says what becomes of its records is noticed; an idle one is not."""

from rendezvous.kafka_client.delivery_monitor import DeliveryMonitor


def test_nothing_is_missed_while_nothing_is_owed():
    pulse = DeliveryMonitor()

    assert [pulse.look() for _ in range(3)] == [0, 0, 0]


def test_looks_in_vain_are_counted_while_something_is_owed():
    pulse = DeliveryMonitor()
    pulse.offered()

    assert [pulse.look() for _ in range(3)] == [1, 2, 3]


def test_a_fate_that_was_told_ends_the_count():
    pulse = DeliveryMonitor()
    pulse.offered()
    pulse.look()
    pulse.heard()

    assert [pulse.look() for _ in range(2)] == [0, 0]


def test_more_records_do_not_hide_that_others_are_told():
    pulse = DeliveryMonitor()
    for _ in range(3):
        pulse.offered()
        pulse.heard()
        pulse.offered()

        assert pulse.look() == 0


def test_more_records_do_not_hide_that_none_is_told():
    pulse = DeliveryMonitor()
    looks = []
    for _ in range(3):
        pulse.offered()
        looks.append(pulse.look())

    assert looks == [1, 2, 3]
