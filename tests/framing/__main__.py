"""
Send seeded streams through the gateway's parser, h11 and llhttp, and others through haproxy.

Fails with each stream that is delimited differently, and each request behind haproxy that got the
response of another one.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.framing.behind_haproxy import NotAvailable, haproxy_and_gateway, through_haproxy
from tests.framing.differences import differences
from tests.framing.streams import stream

#: Maximum number of streams that differ and are printed.
MAX_PRINTED = 20


def write(*lines: str) -> None:
    """Write *lines*, all but the first indented."""
    sys.stdout.write("\n    ".join(lines) + "\n")
    sys.stdout.flush()


def compare(streams: int, first_seed: int) -> int:
    """Return the number of streams that differ; print the first ones."""
    seen: Counter[str] = Counter()
    differing = 0
    begun_s = time.monotonic()
    for seed in range(first_seed, first_seed + streams):
        sent = stream(seed)
        found = list(differences(sent, seen))
        differing += bool(found)
        if found and differing <= MAX_PRINTED:
            write(f"seed {seed}: {sent.sent!r}", *found)
    write(
        f"{streams} streams from seed {first_seed}: {seen['served']} requests served, "
        f"{seen['refused']} refused, {differing} streams delimited differently "
        f"({time.monotonic() - begun_s:.0f} s)"
    )
    return differing


def send_through_haproxy(streams: int, first_seed: int) -> int:
    """Return the number of victims without their own response; print some."""
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            haproxy_and_gateway(Path(folder)) as port,
        ):
            victims, served = through_haproxy(port, streams, first_seed)
    except NotAvailable:
        write("haproxy is not installed: no streams through it")
        return 0
    write(
        f"{streams} streams through haproxy: {served} requests served; requests of victims: "
        f"{dict(victims.seen)}, {len(victims.wrong)} with the response of another",
        *victims.wrong[:MAX_PRINTED],
    )
    return len(victims.wrong) + sum(victims.seen.values()) - victims.seen["200"]


def main() -> int:
    """Run both tests."""
    parser = argparse.ArgumentParser(prog="python -m tests.framing", description=__doc__)
    add = partial(parser.add_argument, nargs="?", type=int, help="(%(default)s)")
    add("streams", default=20_000)
    add("behind_haproxy", default=4_000)
    add("seed", default=1)
    given = parser.parse_args()
    wrong = [
        compare(given.streams, given.seed),
        send_through_haproxy(given.behind_haproxy, given.seed),
    ]
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
