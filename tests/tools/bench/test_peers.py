"""Gateways of other projects: which are built, and which processes they need."""

import zipfile
from pathlib import Path

import pytest

from tools.bench.peers import PEERS, setups_in, unpack_libraries

NAMES = [peer.name for peer in PEERS]


def build(folder: Path, name: str) -> None:
    (peer,) = [peer for peer in PEERS if peer.name == name]
    product = folder / name / peer.product
    product.parent.mkdir(parents=True)
    product.write_bytes(b"")


def test_built_peers_run_with_both_responders_and_the_others_are_named_with_their_build(
    tmp_path: Path,
):
    build(tmp_path, "nest")

    found, missing = setups_in(tmp_path, NAMES)

    assert [setup.name for setup in found] == ["nest/own", "nest/shipped"]
    assert [line.split(":")[0] for line in missing] == [
        "Spring ReplyingKafkaTemplate is not built",
        "FastAPI and aiokafka is not built",
    ]
    assert missing[0].endswith(f"cd {tmp_path / 'spring'} && mvn -q package")


def test_only_the_peers_asked_for_are_looked_for(tmp_path: Path):
    assert setups_in(tmp_path, []) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_and_its_responder_share_the_topic_and_not_the_responders_group(
    name: str, tmp_path: Path
):
    build(tmp_path, name)
    found, _ = setups_in(tmp_path, NAMES)

    for setup in found:
        responder, web = setup.processes("broker:1", 8123, "t7-group")

        assert (responder.kind, web.kind) == ("responder", "web")
        assert web.env == {"BS": "broker:1", "PORT": "8123"}
        assert responder.env["TOPIC"] == setup.topics[0]
        assert "t7-group" in responder.env.values()


def test_our_responder_is_that_of_the_procfile_with_a_handler_for_the_topic(tmp_path: Path):
    build(tmp_path, "nest")
    _, setup = setups_in(tmp_path, NAMES)[0]

    responder, _ = setup.processes("broker:1", 8123, "t7-group")

    assert responder.command.endswith("python -m responder")
    assert responder.env["RESPONDER_HANDLERS"] == "tools.bench.programs.peers.shipped_handlers"
    assert responder.env["RESPONDER_REPLY_TOPICS"] == "*"
    assert responder.folder is None


def test_the_libraries_inside_of_a_jar_are_unpacked_once(tmp_path: Path):
    build(tmp_path, "spring")
    with zipfile.ZipFile(tmp_path / "spring/target/spring-gateway-1.jar", "w") as jar:
        jar.writestr("BOOT-INF/lib/a.jar", b"library")
        jar.writestr("BOOT-INF/classes/App.class", b"class")
    found, _ = setups_in(tmp_path, NAMES)

    unpack_libraries(found)
    unpack_libraries(found)

    folder = tmp_path / "spring/target/libraries"
    assert [file.name for file in folder.iterdir()] == ["a.jar"]
