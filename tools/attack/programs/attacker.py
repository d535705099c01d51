"""
One attacker process: prints BEGIN, runs an attack for a time, then prints counts as JSON.

    python -m tools.attack.programs.attacker ATTACK PORT --number N --seconds S --source ADDRESS

It runs at the lowest priority, so that the server and the honest clients get the CPU first.
"""

import argparse
import asyncio
import json
import os
import resource

from tools.attack.attacks.table import ATTACKS
from tools.attack.attacks.wire import Target
from tools.output import print_line

NICENESS = 10
BEGIN = "BEGIN"


async def attack(name: str, target: Target, number: int, duration_s: float) -> None:
    """Run the attack called *name* for *duration_s*."""
    try:
        async with asyncio.timeout(duration_s):
            await ATTACKS[name].run(target, number)
    except TimeoutError:
        pass


def main() -> None:
    """Attack and print the counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("attack", choices=ATTACKS)
    parser.add_argument("port", type=int)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--source", required=True)
    options = parser.parse_args()
    os.nice(NICENESS)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print_line(BEGIN)
    target = Target(options.port, options.source)
    asyncio.run(attack(options.attack, target, options.number, options.seconds))
    print_line(json.dumps(target.counts))


if __name__ == "__main__":
    main()
