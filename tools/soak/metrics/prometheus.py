"""Prometheus, which scrapes the processes of a deployment."""

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import ANSWER_TIMEOUT_S, Server

#: Interval of the scrapes, in seconds.
SCRAPE_S = 1
QUERY_TIMEOUT_S = 10.0


class Prometheus(Server):
    """
    A Prometheus with the targets of each job.

    Args:
        targets: management ports by job.
    """

    name = "Prometheus"
    scheme = "http"

    def __init__(self, targets: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self._targets = targets

    @staticmethod
    def unavailable_reason() -> str | None:
        """Return why it cannot be started, or None."""
        return None if shutil.which("prometheus") else "prometheus is not installed"

    def prepare(self) -> None:
        """Write the configuration."""
        jobs = [
            {
                "job_name": job,
                "static_configs": [{"targets": [f"{LOOPBACK}:{port}" for port in ports]}],
            }
            for job, ports in self._targets.items()
        ]
        intervals = {"scrape_interval": f"{SCRAPE_S}s", "scrape_timeout": f"{SCRAPE_S}s"}
        # JSON is YAML.
        configuration = json.dumps({"global": intervals, "scrape_configs": jobs})
        (self.folder / "prometheus.yml").write_text(configuration, encoding="utf-8")

    def command(self) -> list[str]:
        """Return the command that runs it."""
        return [
            "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]

    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Return whether it is ready."""
        try:
            self._get("/-/ready", timeout_s)
        except (OSError, urllib.error.HTTPError):
            return False
        return True

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each element of *expression* now."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        found = json.loads(self._get(path, QUERY_TIMEOUT_S))
        return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]

    def _get(self, path: str, timeout_s: float) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=timeout_s) as response:
            return response.read()
