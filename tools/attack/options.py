"""Command line options of the attacks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tools.attack.attacks.table import ATTACKS, describe

FOLDER = Path(".attack")
MAX_SECONDS, MAX_STRENGTH = 600.0, 100


def parse(arguments: Sequence[str], description: str) -> argparse.Namespace:
    """Return the options in *arguments*."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=description.strip(),
        epilog=f"attacks, each with its number at strength 1:\n{describe()}",
    )
    add = parser.add_argument
    add("attacks", nargs="*", metavar="ATTACK", help="names of attacks; default all")
    add("--seconds", type=_seconds, default=60.0, help="length of each attack (%(default)g)")
    add("--strength", type=_strength, default=10, help="multiplies the numbers (%(default)s)")
    add("--against", metavar="REV", help="attack the tree of this git revision too, and first")
    add("--url", help="attack a running service instead, on the loopback interface only")
    add("--api-key", default="", help="of the honest clients of --url; attackers have none")
    add(
        "--kafka",
        choices=("embedded", "apache"),
        default="embedded",
        help="broker to start; apache needs Java 17 and Maven (%(default)s)",
    )
    add(
        "--env",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of the service; may be repeated",
    )
    add("--output", type=Path, default=FOLDER, help="folder for results and logs (%(default)s)")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.attacks) - set(ATTACKS)):
        parser.error(f"no such attack: {', '.join(unknown)}")
    if options.url and options.against:
        parser.error("--url and --against exclude each other")
    options.attacks = options.attacks or list(ATTACKS)
    return options


def _seconds(text: str) -> float:
    return _between(float(text), 1.0, MAX_SECONDS)


def _strength(text: str) -> int:
    return int(_between(int(text), 1, MAX_STRENGTH))


def _between(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected {least:g} to {most:g}, not {value:g}")
    return value


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value
