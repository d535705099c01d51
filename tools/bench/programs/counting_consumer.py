"""
Lower bound of the replies process: a plain consumer that counts the same records.

    python -m tools.bench.programs.counting_consumer BROKER TOPIC GROUP COUNT

It prints RESULT and, as JSON, the records after the first poll and the seconds they took.
"""

import json
import sys
import time

from kafka import KafkaConsumer

from tools.output import print_line

LIMIT_S = 120.0


def main() -> None:
    """Count until COUNT records or LIMIT_S."""
    broker, topic, group, count = sys.argv[1:]
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
        max_poll_records=1_000,  # as the replies process has it
    )
    seen = first = 0
    first_s = last_s = first_cpu_s = 0.0
    limit_s = time.monotonic() + LIMIT_S
    while seen < int(count) and time.monotonic() < limit_s:
        got = sum(map(len, consumer.poll(timeout_ms=200).values()))
        if got:
            seen += got
            last_s = time.monotonic()
            if not first:
                first, first_s, first_cpu_s = got, last_s, time.process_time()
    found = {
        "records": seen - first,
        "duration_s": last_s - first_s,
        "cpu_s": time.process_time() - first_cpu_s,
    }
    print_line(f"RESULT {json.dumps(found)}")
    consumer.close()


if __name__ == "__main__":
    main()
