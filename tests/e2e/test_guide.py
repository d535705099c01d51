"""docs/guide.md is true: each of its commands is run, and prints what stands below it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import transcript
from tests.e2e.deployment import Deployment

pytestmark = pytest.mark.e2e

GUIDE = Path("docs/guide.md")
LIMIT_S = 120.0


def test_each_command_of_the_guide_prints_what_the_guide_says(
    deploy: Callable[..., Deployment], tmp_path: Path
):
    document = GUIDE.read_text(encoding="utf-8")
    steps = list(transcript.steps(document))
    with deploy() as deployment:
        ports = {"localhost:8000": f"127.0.0.1:{deployment.gateway.port}"}

        outputs = transcript.run(
            [_at(step.command, ports) for step in steps], tmp_path, os.environ, LIMIT_S
        )

    wrong = [
        f"{GUIDE}:{step.line}: $ {step.command}\nexpected:\n{step.expected}\nprinted:\n{output}"
        for step, output in zip(steps, outputs, strict=True)
        if not transcript.agrees(step.expected, output)
    ]
    assert not wrong, "\n\n".join(wrong)
    assert len(steps) > 5


def _at(command: str, ports: dict[str, str]) -> str:
    for written, real in ports.items():
        command = command.replace(written, real)
    return command
