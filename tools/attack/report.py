"""The table of the report."""

from collections.abc import Mapping

from tools.attack.result import Result

HEADINGS = (
    f"{'attack':17} {'tree':12} {'probes':>7} {'worst':>7} {'honest/s: before':>16} {'during':>7} "
    f"{'after':>7} {'not 200':>7} {'CPU s':>6} {'RSS MB':>6}  verdict"
)


def row(result: Result) -> str:
    """Return the line of *result*."""
    before, during, after = result.rates
    failures = ", ".join(result.failures())
    verdict = f"FAIL: {failures}" if failures else "pass"
    notes = describe(result.counts)
    if result.processes_replaced:
        notes = f"{result.processes_replaced} processes replaced; {notes}"
    return (
        f"{result.attack:17} {result.tree:12.12} {result.probes_share:7.1%} "
        f"{result.worst_probe_s:5.2f} s {before:16.0f} {during:7.0f} {after:7.0f} "
        f"{result.not_200:7} {result.cpu_s:6.1f} {result.peak_rss_bytes / 1e6:6.0f}  "
        f"{verdict} ({notes})"
    )


def describe(counts: Mapping[str, int]) -> str:
    """Return *counts* in words."""
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "no attempt"
