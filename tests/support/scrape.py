"""Scrapes of a management port, as Prometheus does them."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tools.devstack.ports import LOOPBACK


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body of GET *path*."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def probe(port: int, path: str) -> tuple[int, Any]:
    """Return status and JSON of a probe."""
    status, body = get(port, path)
    return status, json.loads(body)


class Scrape:
    """All samples of one process at one moment."""

    def __init__(self, port: int) -> None:
        status, body = get(port, "/metrics")
        assert status == 200, body
        families = text_string_to_metric_families(body.decode())
        self.samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the sum of the samples called *name* that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def answers(port: int) -> bool:
    """Return whether metrics are served on *port*."""
    try:
        return get(port, "/metrics")[0] == 200
    except OSError:
        return False


def increase(port: int, run: Callable[[], object]) -> Callable[..., float]:
    """Return how much each sample has increased, or decreased, while *run* ran."""
    before = Scrape(port)
    run()
    after = Scrape(port)
    return lambda name, **labels: after(name, **labels) - before(name, **labels)
