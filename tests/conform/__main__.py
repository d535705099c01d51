"""
Sends a deployment whatever its description allows, and what it does not, with a fixed seed.

python -m tests.conform [SEED] [EXAMPLES]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from devstack.broker import EmbeddedBroker
from devstack.ports import LOOPBACK
from devstack.valkey import EmbeddedRedis
from tests.conform.hooks import ANSWERS
from tests.e2e.deployment import Deployment

HERE = Path(__file__).parent
LIMIT_S = 1_800


def main(seed: int, examples: int) -> int:
    """Return the exit code: 0 when every answer was as described."""
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    if command is None:
        print("schemathesis is not installed: pip install -r requirements-fuzz.txt")  # noqa: T201
        return 2
    with (
        EmbeddedBroker() as kafka,
        EmbeddedRedis() as redis,
        tempfile.TemporaryDirectory() as folder,
        Deployment(kafka, redis, Path(folder), env=_ENVIRONMENT) as deployment,
    ):
        answers = Path(folder, "answers")
        code = subprocess.run(
            [command, *_arguments(deployment.gateway.port, seed, examples)],
            env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.conform.hooks", ANSWERS: str(answers)},
            timeout=LIMIT_S,
            check=False,
        ).returncode
        if code:
            print(deployment.logs())  # noqa: T201
        counted = Counter(answers.read_text(encoding="utf-8").splitlines())
    for answer, number in sorted(counted.items()):
        print(f"{number:6} {answer}")  # noqa: T201
    print(f"{counted.total():6} answers")  # noqa: T201
    return code


_ENVIRONMENT = {"ROUTES_FILE": str(HERE / "routes.toml"), "REPLY_RETENTION_S": "5"}


def _arguments(port: int, seed: int, examples: int) -> list[str]:
    return [
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"http://{LOOPBACK}:{port}/openapi.json",
        f"--seed={seed}",
        f"--max-examples={examples}",
        "--continue-on-failure",
        "--no-shrink",
    ]


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [1, 500][len(given) :])))
