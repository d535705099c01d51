"""Alert rules, their tests and paragraphs, and the dashboard fit the metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.brokers import in_ci

ROOT = Path(__file__).parents[2]
RULES, RULES_TEST = (
    ROOT / "deploy/prometheus" / name for name in ("rules.yaml", "rules_test.yaml")
)
BOARD = json.loads((ROOT / "deploy/grafana/rendezvous.json").read_text("utf-8"))
GUIDE = (ROOT / "docs/guides/alerts.md").read_text("utf-8")
METRICS = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
ALERTS = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]

_NAME = re.compile(r"\b(?:rendezvous|http_server)_[a-z_]+")
_HISTOGRAM_PARTS = re.compile(r"_(?:bucket|count|sum)$")


def names_in(expression: str) -> set[str]:
    names = {_HISTOGRAM_PARTS.sub("", name) for name in _NAME.findall(expression)}
    return names - {"http_server"}


def expressions_of_the_dashboard() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]


def promtool(*arguments: object) -> str:
    """Return what promtool prints; skip the test without it."""
    if shutil.which("promtool") is None:
        reason = "needs promtool, of the package prometheus"
        pytest.fail(reason) if in_ci() else pytest.skip(reason)
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_has_metrics_that_exist_a_paragraph_and_two_tests(alert):
    name = alert["alert"]
    tests = [test["name"] for test in yaml.safe_load(RULES_TEST.read_text("utf-8"))["tests"]]

    assert names_in(alert["expr"])
    assert {one for one in names_in(alert["expr"]) if f"`{one}`" not in METRICS} == set()
    assert alert["annotations"]["runbook"] == f"docs/guides/alerts.md#{name.lower()}"
    assert f"\n## {name}\n" in GUIDE
    assert [test for test in tests if test.startswith(f"{name} is ")] == [
        f"{name} is raised", f"{name} is not raised",
    ]  # fmt: skip


def test_the_dashboard_shows_every_metric_that_there_is():
    shown = set().union(*map(names_in, expressions_of_the_dashboard()))
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", METRICS, re.MULTILINE))

    assert shown == documented


def test_no_panel_covers_another():
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells


def test_prometheus_raises_each_alert_and_none_without_cause():
    assert "SUCCESS" in promtool("test", "rules", RULES_TEST)


def test_prometheus_reads_every_expression_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(expressions_of_the_dashboard())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
