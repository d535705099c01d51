"""
The shipped responder, which prints counts of its requests and polls when it has stopped.

    python -m tools.bench.programs.counting_responder
"""

from responder.__main__ import main as respond
from tools.bench.programs.counters import Counters


def main() -> None:
    """Respond until SIGTERM, then print the counts."""
    counters = Counters()
    respond([])
    counters.print()


if __name__ == "__main__":
    main()
