"""Each command in docs/guides/call.md prints what the guide shows."""

import os
from pathlib import Path

import pytest

from tests.support import console_blocks
from tests.support.deployment import READY_LIMIT_S, Deploy, Gateway
from tools.devstack.readiness import GatewayProbe
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

GUIDE = Path("docs/guides/call.md")
LIMIT_S = 120.0


def test_each_command_of_the_guide_prints_what_the_guide_shows(deploy: Deploy, tmp_path: Path):
    document = GUIDE.read_text(encoding="utf-8")
    steps = list(console_blocks.steps(document))
    for name, text in console_blocks.files(document).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with deploy() as deployment:
        second = deployment.start_gateway(
            API_KEYS_FILE=str(tmp_path / "keys.toml"),
            ROUTES_FILE=str(tmp_path / "routes.toml"),
            CORS_ORIGINS="https://shop.example",
        )
        assert wait_until(lambda: is_ready(second), READY_LIMIT_S), second.logged()
        ports = {
            "localhost:8000": f"127.0.0.1:{deployment.gateway.port}",
            "localhost:8001": f"127.0.0.1:{second.port}",
        }

        outputs = console_blocks.run(
            [_at(step.command, ports) for step in steps], tmp_path, os.environ, LIMIT_S
        )

    wrong = [
        f"{GUIDE}:{step.line}: $ {step.command}\nexpected:\n{step.expected}\nprinted:\n{output}"
        for step, output in zip(steps, outputs, strict=True)
        if not console_blocks.matches(step.expected, output)
    ]
    assert not wrong, "\n\n".join(wrong)
    assert len(steps) > 5


def is_ready(gateway: Gateway) -> bool:
    return GatewayProbe(gateway.port, None, workers=2, reply_timeout_s=3).is_ready()


def _at(command: str, ports: dict[str, str]) -> str:
    for written, real in ports.items():
        command = command.replace(written, real)
    return command
