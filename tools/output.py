"""Console output and JSON files of the benchmarks and the soak."""

import json
import sys
from pathlib import Path


def print_line(text: str) -> None:
    """Print *text* and flush, for output into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_json(value: object, file: Path) -> None:
    """Write *value* as indented JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
