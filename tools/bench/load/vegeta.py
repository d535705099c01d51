"""
The load generator vegeta: requests at fixed times, whether or not earlier ones are answered.

A closed loop sends less while the subject is slow, and so hides the requests that it would have
been slow for. Here every latency counts from the time at which its request was due.
"""

import csv
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.load.latencies import percentile
from tools.bench.load.wrk import LoadFailed

#: Maximum number of connections and so of pending requests; more requests wait for one.
CONNECTIONS = 500
#: Timeout of a request, in seconds.
TIMEOUT_S = 15
SPARE_S = 45.0
MISSING = (
    "The load generator vegeta is missing; install it with Go: "
    "go install github.com/tsenart/vegeta/v12@v12.13.0"
)
PERCENTILES = (50.0, 99.0, 99.9)


@dataclass(frozen=True)
class Shot:
    """One request: when it was due, sent and answered, in seconds of one clock."""

    due_s: float
    sent_s: float
    answered_s: float
    status: int  # 0 without a response


@dataclass(frozen=True)
class OpenLoad:
    """What an open loop measured."""

    rate_per_s: float
    sent: int
    answered: int  # with a status 2xx
    duration_s: float  # from the first request due to the last one
    percentiles_s: list[tuple[float, float]]  # of those answered, from the time they were due
    refused: int  # with another status
    refused_s: float  # longest time from sending to such a status
    failed: int  # without a response
    lag_s: float  # 99th percentile of the delay with which a request was sent

    @property
    def per_s(self) -> float:
        """Responses with a status 2xx per second of the load."""
        return self.answered / self.duration_s if self.duration_s else 0.0


def program() -> str | None:
    """Return the path of vegeta, also where Go installs it; None if it is missing."""
    folder = os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go", "bin")
    return shutil.which("vegeta") or shutil.which("vegeta", path=str(folder))


def attack(
    url: str, rate_per_s: float, duration_s: float, body: bytes, api_key: str = ""
) -> tuple[OpenLoad, float]:
    """
    Send *rate_per_s* requests to *url* for *duration_s*; return the load and vegeta's CPU seconds.

    Raises:
        LoadFailed: when vegeta is missing or fails.
    """
    if (vegeta := program()) is None:
        raise LoadFailed(MISSING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "body").write_bytes(body)
        headers = ["Content-Type: text/plain"]
        headers += [f"Authorization: Bearer {api_key}"] if api_key else []
        target = "\n".join([f"POST {url}", *headers, f"@{folder / 'body'}\n"])
        before_s = _children_cpu_s()
        _run(
            [
                vegeta,
                "attack",
                f"-rate={rate_per_s:g}/1s",
                f"-duration={duration_s:g}s",
                f"-max-workers={CONNECTIONS}",
                f"-timeout={TIMEOUT_S}s",
                "-max-body=0",
                f"-output={folder / 'results'}",
            ],
            target,
            duration_s + TIMEOUT_S + SPARE_S,
        )
        cpu_s = round(_children_cpu_s() - before_s, 3)
        _run(
            [vegeta, "encode", "--to=csv", f"--output={folder / 'csv'}", str(folder / "results")],
            "",
            SPARE_S,
        )
        with (folder / "csv").open(encoding="utf-8", newline="") as lines:
            return summarised(shots(csv.reader(lines), rate_per_s), rate_per_s), cpu_s


def shots(rows: Iterable[Sequence[str]], rate_per_s: float) -> list[Shot]:
    """
    Return the requests in *rows* of vegeta's CSV.

    The first request due is the origin; the request that was sent with the least delay counts as
    sent in time.
    """
    found = [(int(row[0]) / 1e9, int(row[1]), int(row[2]) / 1e9, int(row[8])) for row in rows]
    if not found:
        return []
    origin_s = min(sent_s - number / rate_per_s for sent_s, _, _, number in found)
    return [
        Shot(number / rate_per_s, sent_s - origin_s, sent_s - origin_s + latency_s, status)
        for sent_s, status, latency_s, number in found
    ]


def summarised(found: Sequence[Shot], rate_per_s: float) -> OpenLoad:
    """Return the load of the requests *found*."""
    answered = sorted(s.answered_s - s.due_s for s in found if 200 <= s.status < 300)
    refused = [s.answered_s - s.sent_s for s in found if s.status and not 200 <= s.status < 300]
    return OpenLoad(
        rate_per_s=rate_per_s,
        sent=len(found),
        answered=len(answered),
        duration_s=len(found) / rate_per_s,
        percentiles_s=[(percent, percentile(answered, percent)) for percent in PERCENTILES],
        refused=len(refused),
        refused_s=max(refused, default=0.0),
        failed=len(found) - len(answered) - len(refused),
        lag_s=percentile(sorted(s.sent_s - s.due_s for s in found), 99),
    )


def _run(command: Sequence[str], text: str, limit_s: float) -> None:
    try:
        subprocess.run(
            command, input=text, text=True, capture_output=True, check=True, timeout=limit_s
        )
    except subprocess.CalledProcessError as error:
        raise LoadFailed(f"{command[0]} failed: {error.stderr.strip()[-500:]}") from error
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{command[0]} did not end within {limit_s:g} s") from error


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
