"""Test a deployment against its OpenAPI description with schemathesis, by a fixed seed."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gateway.clients.api_keys import hash_of, new_key
from tests.conform.hooks import RESPONSES_FILE
from tests.support.deployment import Deployment
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.ports import LOOPBACK

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT_S = 1_800


def main(seed: int, examples: int) -> int:
    """Return the exit code: 0 if every response conforms to the description."""
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    if command is None:
        print("schemathesis is not installed: pip install -r requirements-conform.txt")  # noqa: T201
        return 2
    with (
        EmbeddedBroker() as kafka,
        EmbeddedRedis() as redis,
        tempfile.TemporaryDirectory() as folder,
        Deployment(kafka, redis, Path(folder), env=_ENVIRONMENT, key=_KEY) as deployment,
    ):
        responses = Path(folder, "responses")
        code = subprocess.run(
            [command, *_arguments(deployment.gateway.port, seed, examples)],
            cwd=folder,  # it writes files there
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.conform.hooks",
                RESPONSES_FILE: str(responses),
            },
            timeout=LIMIT_S,
            check=False,
        ).returncode
        if code:
            print(deployment.logs())  # noqa: T201
        counted = Counter(responses.read_text(encoding="utf-8").splitlines())
    for response, number in sorted(counted.items()):
        print(f"{number:6} {response}")  # noqa: T201
    print(f"{counted.total():6} responses")  # noqa: T201
    return code


_KEY = new_key()
_ENVIRONMENT = {
    "ROUTES_FILE": str(HERE / "routes.toml"),
    "REPLY_RETENTION_S": "5",
    "API_KEYS": f'[[client]]\nname = "conform"\nkeys = ["{hash_of(_KEY)}"]\n',
}


def _arguments(port: int, seed: int, examples: int) -> list[str]:
    return [
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"http://{LOOPBACK}:{port}/openapi.json",
        f"--header=Authorization: Bearer {_KEY}",
        f"--seed={seed}",
        f"--max-examples={examples}",
        "--continue-on-failure",
        "--no-shrink",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.conform", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, default=1, help="(%(default)s)")
    parser.add_argument(
        "examples", nargs="?", type=int, default=180, help="of each operation (%(default)s)"
    )
    options = parser.parse_args()
    sys.exit(main(options.seed, options.examples))
