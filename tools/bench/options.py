"""Command line options of the benchmarks."""

import argparse
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.bench.cases import BASE, CASES, Case, cases_named, is_floor
from tools.bench.experiments import open_loop, replies_process, responder_alone
from tools.bench.peers import PEERS
from tools.bench.setup import DEFAULT_SUBJECTS, SUBJECTS, VARIANTS

FOLDER = Path(".bench")
#: Default cases of against.
AGAINST = ("c1", BASE)


def parse(arguments: Sequence[str], description: str) -> argparse.Namespace:
    """Return the options in *arguments*; ``command`` is the name of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=description.strip(),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = _command(commands, "run", "all subjects under every case; the default")
    _add_rounds(run, 4)
    _add_cases(run, [case.name for case in CASES], "all")
    add = run.add_argument
    names = _list_of(SUBJECTS, f"all but {', '.join(VARIANTS)}")
    add("--subjects", type=_subjects, default=list(DEFAULT_SUBJECTS), help=names)
    _add_settings(run)
    add("--embedded", action="store_true", help="on the embedded broker, as make run; ours only")
    add("--plots", type=Path, default=FOLDER, help="folder of the plots (%(default)s)")
    _add_rounds(_command(commands, "waiters", "CPU cost of waiters"), 8)
    for name, module in (("replies", replies_process), ("responder", responder_alone)):
        alone = _command(commands, name, f"the {name} process alone")
        _add_rounds(alone)
        count = module.COUNT
        alone.add_argument("--records", type=int, default=count, help="per round (%(default)s)")
    _add_rounds(_command(commands, "scale", "more workers and replies processes"), 6)
    _add_rounds(_command(commands, "cpu", "CPU time of a web worker by part"), 6)
    memory = _command(commands, "memory", "large bodies for minutes")
    memory.add_argument("--minutes", type=float, default=10, help="length (%(default)s)")
    _add_against(commands)
    _add_compare(commands)
    _add_idle(commands)
    _add_open(commands)
    _add_peers(commands)
    plots = commands.add_parser("plots", help="plots from the results of an earlier run")
    plots.set_defaults(command="plots")
    plots.add_argument("results", type=Path, help="JSON file of a run")
    plots.add_argument("folder", type=Path, help="folder of the plots")
    has_command = arguments and arguments[0] in (*commands.choices, "-h", "--help")
    return parser.parse_args([*([] if has_command else ["run"]), *arguments])


def _add_against(commands: Any) -> None:
    against = _command(commands, "against", "this source tree against another one")
    _add_rounds(against, 4)
    _add_cases(against, AGAINST, ",".join(AGAINST))
    add = against.add_argument
    add("revision", nargs="?", default="HEAD", help="git revision of the other tree (%(default)s)")
    add("--python", type=_program, default=sys.executable, help="runs the other tree (this one)")
    _add_env(against, "--env", "setting of the other tree")
    _add_as_shipped(against)


def _add_open(commands: Any) -> None:
    parser = _command(commands, "open", "latency at fixed rates of requests")
    _add_rounds(parser, 4)
    add = parser.add_argument
    rates = ",".join(f"{rate:g}" for rate in open_loop.RATES)
    add("--rates", type=_rates, default=open_loop.RATES, help=f"requests per second ({rates})")
    subjects = list(open_loop.SUBJECTS)
    known = [name for name in SUBJECTS if not is_floor(name)]
    add("--subjects", type=_subjects, default=subjects, help=_list_of(known, ",".join(subjects)))
    _add_settings(parser)
    add("--plots", type=Path, default=FOLDER, help="folder of the plot (%(default)s)")


def _add_peers(commands: Any) -> None:
    parser = _command(
        commands, "peers", "gateways of other projects, with their responders and ours"
    )
    _add_rounds(parser, 4)
    _add_cases(parser, AGAINST, ",".join(AGAINST))
    _add_settings(parser)
    add = parser.add_argument
    names = [peer.name for peer in PEERS]
    add("--from", dest="folder", type=Path, required=True, help=f"has {', '.join(names)}, built")
    add("--peers", type=_peers, default=names, help=_list_of(names, "all"))


def _add_compare(commands: Any) -> None:
    compare = _command(commands, "compare", "two settings of this source tree")
    _add_rounds(compare, 4)
    _add_cases(compare, AGAINST, ",".join(AGAINST))
    _add_env(compare, "--a", "setting of A")
    _add_env(compare, "--b", "setting of B")
    _add_as_shipped(compare)


def _add_idle(commands: Any) -> None:
    parser = _command(commands, "idle", "processes without requests, under two settings")
    _add_rounds(parser, 5)
    _add_env(parser, "--a", "setting of A")
    _add_env(parser, "--b", "setting of B")
    counts = [2, 8]
    parser.add_argument("--workers", type=_counts, default=counts, help="web workers (2,8)")


def _add_as_shipped(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--shipped",
        action="store_true",
        help="run the Procfile with default settings, its own responder included",
    )
    add("--api-keys", action="store_true", help="require an API key in both and send it")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    _add_env(parser, "--env", "setting of our processes")
    parser.add_argument(
        "--delivery",
        type=_delivery,
        action="append",
        dest="env",
        metavar="direct|store",
        help="short for --env REPLY_DELIVERY=...",
    )


def _add_env(parser: argparse.ArgumentParser, name: str, description: str) -> None:
    parser.add_argument(
        name,
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"{description}; may be repeated",
    )


def _command(commands: Any, name: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=description)
    parser.set_defaults(command=name)
    output = FOLDER / f"{'results' if name == 'run' else name}.json"
    parser.add_argument("--output", type=Path, default=output, help="JSON file (%(default)s)")
    return parser


def _add_rounds(parser: argparse.ArgumentParser, seconds: float | None = None) -> None:
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="number of rounds (%(default)s)")
    if seconds is not None:
        add("--seconds", type=float, default=seconds, help="of each measurement (%(default)s)")


def _add_cases(parser: argparse.ArgumentParser, default: Sequence[str], shown: str) -> None:
    names = _list_of((case.name for case in CASES), shown)
    parser.add_argument("--cases", type=_cases, default=cases_named(default), help=names)


def _list_of(names: Iterable[str], default: str) -> str:
    return f"comma-separated list of {','.join(names)} ({default})"


def _subjects(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := set(wanted) - set(SUBJECTS):
        raise argparse.ArgumentTypeError(f"no such subject: {', '.join(sorted(unknown))}")
    return [subject for subject in SUBJECTS if subject in wanted]


def _cases(text: str) -> list[Case]:
    try:
        return cases_named(text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def _peers(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := set(wanted) - {peer.name for peer in PEERS}:
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(sorted(unknown))}")
    return wanted


def _counts(text: str) -> list[int]:
    counts = [int(count) for count in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers from 1, not {text}")
    return counts


def _rates(text: str) -> list[float]:
    rates = [float(rate) for rate in text.split(",")]
    if min(rates) <= 0:
        raise argparse.ArgumentTypeError(f"expected rates above 0, not {text}")
    return rates


def _delivery(text: str) -> tuple[str, str]:
    if text not in ("direct", "store"):
        raise argparse.ArgumentTypeError(f"expected direct or store, not {text!r}")
    return "REPLY_DELIVERY", text


def _program(text: str) -> str:
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"no program {text!r}")
    # Absolute, because it starts in another folder; links stay, they name a virtual environment.
    return str(Path(found).absolute())
