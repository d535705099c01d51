"""
Entry point of `python -m gateway.keys`: makes an API key.

The key is never an argument, which other users of the machine can read in the list of processes.
"""

import argparse
import sys
from collections.abc import Sequence

from gateway.clients.api_keys import hash_of, new_key
from gateway.clients.api_keys_file import NAME_EXPECTED, is_client_name

_OUTPUT = """\
API key of {name}; it is shown only this once and stored nowhere:

    {key}

Add this to the file of API_KEYS_FILE, or to API_KEYS:

    [[client]]
    name = "{name}"
    keys = ["{key_hash}"]

The client sends "Authorization: Bearer <key>". To replace a key: list both hashes, send SIGHUP to
gunicorn, give the client the new key, remove the old hash, send SIGHUP again.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a new key and the [[client]] table that permits it."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.keys",
        description="Make a random API key and print it with the [[client]] table that permits it.",
    )
    parser.add_argument("name", metavar="NAME", help=f"name of the client: {NAME_EXPECTED}")
    name = parser.parse_args(arguments).name
    if not is_client_name(name):
        # Not shown: it may be a key.
        parser.error(f"NAME: expected {NAME_EXPECTED}; this command makes the key itself")
    key = new_key()
    sys.stdout.write(_OUTPUT.format(name=name, key=key, key_hash=hash_of(key)))


if __name__ == "__main__":
    main()
