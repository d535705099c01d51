"""A process on a machine without credentials of AWS."""

import pytest

#: A profile whose credentials come from a program that fails, with two lines.
FAILING_PROFILE = """[default]
region = eu-central-1
credential_process = sh -c "printf 'STS is\\nasleep' >&2; exit 1"
"""


@pytest.fixture
def aws_config(monkeypatch, tmp_path):
    """The configuration file of AWS, which does not exist yet; nothing of this machine counts."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    return file
