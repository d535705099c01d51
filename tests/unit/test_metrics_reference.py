"""docs/reference/metrics.md lists the metrics of each process as the code has them."""

from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client import Counter, Gauge, Histogram

from gateway import metrics as gateway_metrics
from rendezvous.process import counts
from rendezvous.process.monitoring import metrics
from replies import metrics as replies_metrics

Metric = Counter | Gauge | Histogram
DOCUMENT = Path(__file__).parents[2] / "docs/reference/metrics.md"
MODULES = {
    "The gateway": gateway_metrics,
    "The replies process": replies_metrics,
    "The responder": counts,
    "All three": metrics,
}


def metrics_of(module: ModuleType) -> list[Metric]:
    return [one for one in vars(module).values() if isinstance(one, Metric)]


def row(metric: Metric) -> str:
    """Return the row of a metric in the table of its process."""
    described, *_ = metric.describe()
    name = described.name + ("_total" if described.type == "counter" else "")
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return f"| `{name}` | {described.type} | {labels} | {described.documentation} |"


@pytest.mark.parametrize("heading", MODULES)
def test_each_metric_has_a_row_with_its_labels_and_meaning(heading):
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    assert rows == [row(metric) for metric in metrics_of(MODULES[heading])]


@pytest.mark.parametrize("metric", [m for one in MODULES.values() for m in metrics_of(one)])
def test_a_name_has_the_prefix_and_its_unit(metric):
    described, *_ = metric.describe()
    nouns = ("_requests", "_connections", "_workers", "_partitions", "_clients")
    states = ("_open", "_fails", "_read", "_info")
    units = {"histogram": "_seconds", "counter": "", "gauge": ("_seconds", *nouns, *states)}

    assert described.name.startswith(("rendezvous_", "http_server_"))
    assert described.name.endswith(units[described.type])


@pytest.mark.parametrize("metric", [m for one in MODULES.values() for m in metrics_of(one)])
def test_no_label_is_an_id_a_path_or_a_header(metric):
    allowed = {"route", "outcome", "topic", "partition", "sent", "client", "way", "check"}
    allowed |= {"reason", "error", "version", "python"}
    allowed |= {"http_route", "http_request_method", "http_response_status_code", "error_type"}

    assert set(metric._labelnames) <= allowed
