"""What a meter counts."""

import fakeredis

from tools.bench.measure import usage
from tools.bench.measure.broker_requests import parsed
from tools.bench.measure.usage import Meter


def test_a_meter_counts_from_its_creation_on(monkeypatch):
    calls = iter([{"get": 5, "set": 7}, {"get": 9, "set": 7, "mget": 1}])
    monkeypatch.setattr(usage, "redis_calls", lambda _: next(calls))
    requests = iter([{"Produce": 10, "Fetch": 3}, {"Produce": 14, "Fetch": 3}])

    use = Meter({"web": []}, fakeredis.FakeRedis(), lambda: next(requests)).read()

    assert use.redis_calls == {"get": 4, "mget": 1}
    assert use.kafka_requests == {"Produce": 4}
    assert use.cpu_s == {"web": 0.0}


def test_requests_of_the_broker_are_read_by_kind():
    assert parsed("COUNTS Fetch=12 Produce=7\n") == {"Fetch": 12, "Produce": 7}
    assert parsed("") == {}  # the program has ended
