"""Options of the attacks, and the hosts that may be attacked."""

import pytest

from tools.attack.attacks.table import ATTACKS
from tools.attack.options import parse
from tools.attack.service import NotLoopback, running_service


def test_by_default_all_attacks_run_for_a_minute_at_ten_times_the_strength():
    options = parse([], "")

    assert options.attacks == list(ATTACKS)
    assert (options.seconds, options.strength, options.kafka) == (60.0, 10, "embedded")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "0"],
        ["--seconds", "601"],
        ["--strength", "0"],
        ["--strength", "101"],
        ["no-such-attack"],
        ["--env", "A"],
        ["--url", "http://127.0.0.1:1", "--against", "HEAD"],
    ],
)
def test_unusable_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse(arguments, "")

    assert "error:" in capsys.readouterr().err


def test_a_service_on_the_loopback_interface_may_be_attacked():
    service = running_service("http://127.0.0.1:8123", "key")

    assert (service.port, service.api_key, service.pids) == (8123, "key", [])


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:8000",
        "http://example.com",
        "https://127.0.0.1:8000",
        "http://127.0.0.1@example.com:8000",
        "http://127.0.0.1:port",
        "127.0.0.1:8000",
        "",
    ],
)
def test_no_other_host_may_be_attacked(url: str):
    with pytest.raises(NotLoopback, match="attack only what is here"):
        running_service(url)
