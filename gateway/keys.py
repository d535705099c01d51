"""
Entry point of `python -m gateway.keys`: makes an API key.

The key is made here and never passed as an argument, which everybody on the machine could read.
"""

import argparse
import sys
from collections.abc import Sequence

from gateway.clients.api_keys import hash_of, new_key
from gateway.clients.api_keys_file import NAME_EXPECTED, is_client_name

_TOLD = """\
The key of {name}; it is shown this once and kept nowhere:

    {key}

What belongs into the file of API_KEYS_FILE, or into API_KEYS:

    [[client]]
    name = "{name}"
    keys = ["{kept}"]

Send it as "Authorization: Bearer <key>". To replace a key, list the hashes of both, send SIGHUP to
gunicorn, hand out the new key, remove the old hash, and send SIGHUP again.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a new key and the table that lets it in."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.keys",
        description="Make a random API key: print it once, with the table that lets it in.",
    )
    parser.add_argument("name", metavar="NAME", help=f"the client it is for: {NAME_EXPECTED}")
    name = parser.parse_args(arguments).name
    if not is_client_name(name):
        # Not shown: it may be a key that somebody meant to hash.
        parser.error(f"NAME: expected {NAME_EXPECTED}; keys are made here, not given")
    key = new_key()
    sys.stdout.write(_TOLD.format(name=name, key=key, kept=hash_of(key)))


if __name__ == "__main__":
    main()
