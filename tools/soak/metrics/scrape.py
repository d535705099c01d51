"""One scrape of a management port, parsed as prometheus_client does."""

import urllib.request
from collections import Counter
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tools.devstack.ports import LOOPBACK

TIMEOUT_S = 10.0


def scrape(port: int) -> list[Sample]:
    """Return the samples of the process with this management port."""
    url = f"http://{LOOPBACK}:{port}/metrics"
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        text = response.read().decode()
    return [one for family in text_string_to_metric_families(text) for one in family.samples]


def sums(samples: Iterable[Sample], name: str, by: str, **labels: str) -> Counter[str]:
    """Return the sums of the samples called *name* with these *labels*, by another label."""
    found: Counter[str] = Counter()
    for one in samples:
        if one.name == name and labels.items() <= one.labels.items():
            found[one.labels[by]] += round(one.value)
    return +found
