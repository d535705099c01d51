"""
`make traces`: receives traces over OTLP/HTTP, and prints each as a tree.

    python -m tools.traces [--port 4318]

In another terminal: OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 make run
"""

import argparse
import sys
import time

from tools.traces.collector import collecting
from tools.traces.tree import trace_of, tree

#: A trace is printed when its last span was received this long ago, in seconds: processes export
#: every 5 s by default (OTEL_BSP_SCHEDULE_DELAY).
QUIET_S = 6.0
CHECK_INTERVAL_S = 0.5


def main() -> int:
    """Print traces until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tools.traces", description=__doc__)
    parser.add_argument("--port", type=int, default=4318)
    port = parser.parse_args().port
    with collecting(port) as (endpoint, collector):
        sys.stdout.write(f"receiving traces; OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}\n")
        received_s: dict[str, tuple[int, float]] = {}  # by trace: number of spans, since when
        printed: set[str] = set()
        try:
            while True:
                time.sleep(CHECK_INTERVAL_S)
                spans = collector.spans
                linked = {span.trace_id for span in spans if span.links}
                for trace_id in dict.fromkeys(s.trace_id for s in spans):
                    found = trace_of(spans, trace_id)
                    last = received_s.get(trace_id, (0, 0.0))
                    if len(found) != last[0]:
                        received_s[trace_id] = len(found), time.monotonic()
                    elif trace_id not in printed | linked and time.monotonic() - last[1] > QUIET_S:
                        printed.add(trace_id)
                        sys.stdout.write("\n" + "\n".join(tree(found)) + "\n")
                        sys.stdout.flush()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
