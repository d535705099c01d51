"""The servers and processes of the development stack: they answer, and nothing outlives us."""

import http.server
import itertools
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.kafka.topics import TopicsNotCreated, create_topics
from tools.devstack.ports import LOOPBACK, accepts_connections, can_listen, free_port
from tools.devstack.process.child import ORPHAN_GRACE_S, Child, ChildNotStarted
from tools.devstack.process.procfile import ProcfileError, read_procfile, start_process
from tools.devstack.process.server import Server, ServerNotStarted
from tools.devstack.process.tether import group_states
from tools.devstack.readiness import GatewayProbe
from tools.devstack.stack import WEB_GRACE_S
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LIMIT_S = 20.0
#: Above what the stack itself allows for getting ready.
RUN_LIMIT_S = 70.0
#: A command with a child of its own; both ignore SIGTERM when asked to.
FAMILY = """
import os, signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print("two of us", flush=True)
time.sleep(1000)
"""
WORKER = """
import signal, sys

def end(*_):
    print("told to end", flush=True)
    if "stubborn" not in sys.argv:
        sys.exit()

signal.signal(signal.SIGTERM, end)
print("at work", flush=True)
while True:
    signal.pause()
"""
#: Stands in for the gateway: ready, or not, and its own responder.
GATEWAY = (
    """
import http.server, os, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(503, b"no Kafka") if "unready" in sys.argv else self.answer(200, b"")

    def do_POST(self):
        self.answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
"""
    + WORKER
)


@pytest.fixture(scope="module", params=["embedded broker", "embedded redis", "apache kafka"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "apache kafka":
        need_apache_kafka()
    kinds = {
        "embedded broker": EmbeddedBroker,
        "embedded redis": EmbeddedRedis,
        "apache kafka": ApacheKafka,
    }
    with kinds[request.param]() as server:
        yield server


@pytest.fixture(scope="module", params=["embedded", "apache"])
def broker(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "apache":
        need_apache_kafka()
    with ApacheKafka() if request.param == "apache" else EmbeddedBroker() as broker:
        yield broker


def need_apache_kafka() -> None:
    reason = ApacheKafka.unavailable_reason()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


class TestServers:
    def test_a_started_server_answers(self, server: Server):
        assert server.answers()
        assert server.returncode is None

    def test_a_paused_server_accepts_connections_and_is_silent_until_resumed(self, server: Server):
        server.pause()

        try:
            socket.create_connection((LOOPBACK, server.port), 1.0).close()
            assert not server.answers(timeout_s=0.3)
        finally:
            server.resume()
        assert wait_until(server.answers, LIMIT_S)

    def test_a_pause_takes_effect_at_once(self):
        with EmbeddedBroker() as broker:
            for _ in range(50):
                broker.pause()
                assert not broker.answers(timeout_s=0.01)
                broker.resume()
                assert wait_until(broker.answers, LIMIT_S)

    def test_a_killed_server_is_gone_and_comes_back_on_the_same_port(self, server: Server):
        url, pid = server.url, server.pid

        server.kill()

        assert not server.answers()
        assert group_states(pid) == []
        server.restart()
        assert (server.url, server.answers()) == (url, True)
        assert server.pid != pid

    def test_a_running_server_restarts_on_the_same_port(self, server: Server):
        url, pid = server.url, server.pid

        server.restart()

        assert (server.url, server.answers()) == (url, True)
        assert server.pid != pid

    def test_a_stopped_server_leaves_no_process_no_folder_and_a_free_port(self):
        with EmbeddedRedis() as redis:
            pid, folder = redis.pid, redis.folder
            assert folder.is_dir()

        assert not redis.answers()
        assert group_states(pid) == []
        assert not folder.exists()
        assert can_listen(LOOPBACK, redis.port)

    def test_a_paused_server_can_be_stopped(self):
        with EmbeddedBroker() as broker:
            broker.pause()
            started_s = time.monotonic()

        assert time.monotonic() - started_s < broker.stop_grace_s
        assert not broker.answers()

    def test_a_server_that_cannot_start_says_why(self):
        with socket.socket() as taken:
            taken.bind((LOOPBACK, 0))
            redis = EmbeddedRedis(port=taken.getsockname()[1])

            with pytest.raises(ServerNotStarted, match="Address already in use"), redis:
                pass

    def test_the_redis_forgets_at_a_restart_and_never_evicts(self):
        with EmbeddedRedis() as redis:
            assert redis_says(redis, "CONFIG GET maxmemory-policy").endswith("noeviction\r\n")
            assert redis_says(redis, "SET a b") == "+OK\r\n"

            redis.restart()

            assert redis_says(redis, "GET a") == "$-1\r\n"


class TestTopics:
    def test_missing_topics_are_created_with_a_leader_for_each_partition(self, broker: Server):
        kafka = {"bootstrap_servers": [broker.address]}

        assert create_topics(kafka, ["first", "second"], partitions=3) == ["first", "second"]
        assert create_topics(kafka, ["second", "third"], partitions=5) == ["third"]

        consumer = KafkaConsumer(**kafka)
        assert consumer.partitions_for_topic("second") == {0, 1, 2}
        assert consumer.partitions_for_topic("third") == {0, 1, 2, 3, 4}
        consumer.close()

    def test_a_refused_topic_is_named_with_the_reason(self):
        need_apache_kafka()
        with ApacheKafka() as broker, pytest.raises(TopicsNotCreated) as refusal:
            create_topics({"bootstrap_servers": [broker.address]}, ["good", "not good"])

        assert list(refusal.value.reasons) == ["not good"]
        assert "invalid" in refusal.value.reasons["not good"]

    def test_apache_kafka_keeps_its_records_over_a_kill_and_a_restart(self):
        need_apache_kafka()
        with ApacheKafka() as broker:
            kafka = {"bootstrap_servers": [broker.address]}
            create_topics(kafka, ["kept"], partitions=1)
            producer = KafkaProducer(**kafka, acks="all")
            producer.send("kept", b"before the kill").get(LIMIT_S)
            producer.close()

            broker.kill()
            broker.restart()
            broker.restart()

            assert first_record(kafka, "kept") == b"before the kill"

    def test_unavailable_apache_kafka_names_what_is_missing(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PATH", "/nowhere")

        reason = ApacheKafka.unavailable_reason()

        assert reason == "Apache Kafka needs java and mvn on PATH."
        with pytest.raises(ServerNotStarted, match="java and mvn"), ApacheKafka():
            pass


class TestChildren:
    def test_the_pid_is_that_of_the_command_and_the_exit_code_too(self, tmp_path: Path):
        lines: list[str] = []
        child = start_python("import os; print(os.getpid()); raise SystemExit(7)", lines.append)

        assert child.wait(LIMIT_S) == 7
        assert lines == [str(child.pid)]

    def test_a_child_that_was_killed_by_a_signal_says_so(self):
        child = start_python("import time; time.sleep(1000)")

        os.kill(child.pid, signal.SIGKILL)

        assert child.wait(LIMIT_S) == -signal.SIGKILL

    def test_a_command_that_does_not_exist_is_named(self):
        with pytest.raises(ChildNotStarted, match=r"no-such-command cannot be run: No such file"):
            Child.start(["no-such-command"], output=ignore)

    def test_it_is_asked_to_end_once_however_often_it_is_told(self):
        said: list[str] = []
        child = Child.start([sys.executable, "-c", WORKER, "stubborn"], output=said.append)
        assert wait_until(lambda: said == ["at work"], LIMIT_S)
        child.terminate()
        assert wait_until(lambda: said[1:] == ["told to end"], LIMIT_S)
        child.terminate()

        assert child.stop(0.5) == -signal.SIGKILL
        assert said == ["at work", "told to end"]

    @pytest.mark.parametrize("manners", ["polite", "stubborn"])
    def test_a_stopped_child_takes_its_children_along(self, manners: str):
        child = start_family(manners)

        child.stop(grace_s=0.5)

        assert gone(child.pid)

    @pytest.mark.parametrize("manners", ["polite", "stubborn"])
    def test_children_of_a_child_that_ended_by_itself_are_ended_too(self, manners: str):
        child = start_family(manners)

        os.kill(child.pid, signal.SIGKILL)
        child.wait(LIMIT_S)

        assert gone(child.pid)

    def test_a_child_does_not_ignore_what_python_ignores(self):
        child = Child.start(["sh", "-c", "kill -PIPE $$; echo still here"], output=ignore)

        assert child.wait(LIMIT_S) == -signal.SIGPIPE

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
    def test_zombies_that_nobody_collects_do_not_delay_the_end(self):
        # As in a container whose first process never waits for the orphans that it is given.
        script = (
            "import ctypes, time\n"
            "assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0\n"
            "from tests.integration.test_devstack import start_family\n"
            "child = start_family('polite')\n"
            "started_s = time.monotonic()\n"
            "child.kill()\n"
            "print(time.monotonic() - started_s)\n"
        )

        took = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
        )

        assert float(took.stdout) < ORPHAN_GRACE_S / 2

    def test_a_child_has_none_of_our_pipes(self):
        lines: list[str] = []
        child = start_python(
            "import os, sys\n"
            "print(sys.stdin.read() == '')\n"
            "print(sorted(os.listdir('/dev/fd'))[:3], len(os.listdir('/dev/fd')))\n",
            lines.append,
        )

        assert child.wait(LIMIT_S) == 0
        # 0, 1, 2, and the one that listdir itself has open.
        assert lines == ["True", "['0', '1', '2'] 4"]


class TestStarterDies:
    @pytest.fixture
    def starter(self, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int], str]]:
        script = tmp_path / "starter.py"
        script.write_text(
            "import signal, sys, time\n"
            "from tools.devstack.kafka.embedded import EmbeddedBroker\n"
            "from tools.devstack.process.child import Child\n"
            "from tools.devstack.embedded_redis import EmbeddedRedis\n"
            # Whoever runs the tests in the background of a shell makes us ignore it.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "broker, redis = EmbeddedBroker().start(), EmbeddedRedis().start()\n"
            "said = []\n"
            f"family = Child.start([sys.executable, '-c', {FAMILY!r}], output=said.append)\n"
            "while not said: time.sleep(0.01)\n"
            "print(broker.pid, redis.pid, family.pid, broker.folder, flush=True)\n"
            "time.sleep(1000)\n"
        )
        starter = subprocess.Popen(
            [sys.executable, script],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert starter.stdout is not None
        with limited(starter), starter, starter.stdout as said:
            *pids, folder = said.readline().split()
            yield starter, list(map(int, pids)), folder
            starter.kill()

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_nothing_outlives_a_starter_that_dies(
        self, number: int, starter: tuple["subprocess.Popen[str]", list[int], str]
    ):
        process, pids, folder = starter
        assert not any(map(gone, pids))

        process.send_signal(number)

        assert wait_until(lambda: all(map(gone, pids)), LIMIT_S)
        assert wait_until(lambda: not Path(folder).exists(), LIMIT_S)

    def test_a_paused_server_does_not_outlive_a_starter_that_dies(
        self, starter: tuple["subprocess.Popen[str]", list[int], str]
    ):
        process, pids, _ = starter
        for pid in pids:
            os.killpg(pid, signal.SIGSTOP)

        process.kill()

        assert wait_until(lambda: all(map(gone, pids)), LIMIT_S)


class TestProcfile:
    def test_processes_are_read_in_order_without_the_release_step(self, tmp_path: Path):
        file = tmp_path / "Procfile"
        file.write_text("# ours\nweb: gunicorn wsgi:app\n\nrelease: migrate\nworker: python -m w\n")

        assert list(read_procfile(file).items()) == [
            ("web", "gunicorn wsgi:app"),
            ("worker", "python -m w"),
        ]

    def test_a_wrong_line_is_named(self, tmp_path: Path):
        file = tmp_path / "Procfile"
        file.write_text("web: a\nworker\n")

        with pytest.raises(ProcfileError, match="Procfile:2: 'worker'"):
            read_procfile(file)

    def test_a_process_runs_in_our_virtual_environment_with_our_variables(self):
        lines: list[str] = []
        command = "python -c 'import os, sys; print(sys.prefix, os.environ[\"COLOUR\"])'"

        process = start_process(command, {"COLOUR": "red"}, lines.append)

        assert process.wait(LIMIT_S) == 0
        assert lines == [f"{sys.prefix} red"]

    def test_a_line_may_use_the_syntax_of_the_shell(self):
        lines: list[str] = []

        process = start_process(
            'A=1 sh -c "echo $COLOUR $A" && echo end', {"COLOUR": "red"}, lines.append
        )

        assert process.wait(LIMIT_S) == 0
        assert lines == ["red", "end"]


class TestMakeRun:
    def test_wrong_settings_are_named_one_per_line(self):
        said = run_devstack({"PORT": "http", "REPLY_TIMEOUT_S": "99"})

        assert said.returncode == 1
        assert [line.partition("=")[0] for line in said.stderr.splitlines()] == [
            "PORT",
            "REPLY_TIMEOUT_S",
        ]

    def test_a_taken_port_is_named(self):
        with socket.socket() as taken:
            taken.bind((LOOPBACK, 0))
            taken.listen()
            port = taken.getsockname()[1]

            said = run_devstack({"PORT": str(port)})

        assert said.returncode == 1
        assert f"PORT={port} is taken" in said.stderr
        assert said.stdout == ""

    def test_kafka_that_cannot_be_reached_is_named_and_nothing_stays(self):
        url = f"kafka://{LOOPBACK}:{free_port()}"

        said = run_devstack({"KAFKA_URL": url})

        assert said.returncode == 1
        assert url in said.stderr
        assert "connection refused" in said.stderr

    def test_servers_only_prints_settings_that_lead_to_them_and_ends_on_ctrl_c(self):
        starter = subprocess.Popen(
            [sys.executable, "-m", "tools.devstack", "--servers-only"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=clean_environment({}),
        )
        with limited(starter), starter:
            assert starter.stdout is not None
            lines = [starter.stdout.readline().strip().partition("=") for _ in range(4)]
            settings = {name: value for name, _, value in lines}
            redis_port = int(settings["REDIS_URL"].removesuffix("/0").rpartition(":")[2])
            answered = EmbeddedRedis(redis_port).answers()

            starter.send_signal(signal.SIGINT)

        assert answered
        assert sorted(settings) == [
            "KAFKA_FETCH_MAX_WAIT_MS",
            "KAFKA_URL",
            "REDIS_URL",
            "SECRET_KEY",
        ]
        assert starter.returncode == 0
        assert not EmbeddedRedis(redis_port).answers()

    def test_the_printed_line_works_at_once_and_ctrl_c_ends_everything_with_0(self):
        with RunningStack(ROOT) as stack:
            curl, show_headers, url, data, body = shlex.split(stack.read_until("curl "))
            with urllib.request.urlopen(url, body.encode(), LIMIT_S) as response:
                answer = response.read()

            stack.interrupt()

        assert (curl, show_headers, data) == ("curl", "-i", "-d")
        assert answer == b"hello"
        assert stack.returncode == 0
        assert stack.took_s < 10
        assert "Traceback" not in "".join(stack.lines)
        assert sum("curl " in line for line in stack.lines) == 1

    def test_the_gateway_is_stopped_first(self, tmp_path: Path):
        project(tmp_path, web="python front.py", replies="python back.py")
        with RunningStack(tmp_path) as stack:
            stack.read_until("curl ")
            stack.interrupt()

        ends = [line.split()[0] for line in stack.lines if line.endswith("| told to end\n")]
        assert ends == ["web", "replies"]

    def test_a_process_that_ends_by_itself_is_named_and_ends_everything(self, tmp_path: Path):
        project(tmp_path, web="python front.py", replies="sh -c 'exit 7'")
        with RunningStack(tmp_path) as stack:
            stack.read_until("replies ended by itself: exit code 7")

        assert stack.returncode == 1

    def test_a_second_ctrl_c_kills_at_once(self, tmp_path: Path):
        project(tmp_path, web="python front.py stubborn")
        with RunningStack(tmp_path) as stack:
            stack.read_until("curl ")
            stack.interrupt()
            stack.read_until("told to end")
            stack.interrupt()

        assert stack.took_s < WEB_GRACE_S
        assert stack.returncode == 0

    def test_a_gateway_that_is_not_ready_is_quoted(self, tmp_path: Path):
        project(tmp_path, web="python front.py unready")
        port = free_port()
        gateway = start_process("python front.py unready", {"PORT": str(port)}, ignore, tmp_path)
        probe = GatewayProbe(port, "/echo", workers=1, reply_timeout_s=1.0)
        assert wait_until(lambda: accepts_connections(LOOPBACK, port), LIMIT_S)

        assert not probe.is_ready()

        gateway.stop()
        assert probe.missing == "GET /readyz gives 503: no Kafka"
        assert not probe.is_ready()
        assert "does not answer" in probe.missing


class Workers(http.server.BaseHTTPRequestHandler):
    """Gateway workers that share a port; the first two connections go to the same one."""

    nodes: Iterator[str]
    asked = 0

    def do_GET(self) -> None:
        Workers.asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"node": "%s"}' % next(self.nodes).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("nodes", "asked"),
    [("aab", 3), ("ab", 2), ("a", 50)],
    ids=["one comes late", "both at once", "there is but one"],
)
def test_the_gateway_is_ready_when_each_worker_has_said_so(nodes: str, asked: int):
    Workers.nodes = itertools.chain(nodes, itertools.repeat(nodes[-1]))
    with http.server.HTTPServer((LOOPBACK, 0), Workers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Workers.asked = 0
        probe = GatewayProbe(server.server_port, None, workers=2, reply_timeout_s=1.0)
        ready = probe.is_ready()
        server.shutdown()

    assert (ready, Workers.asked) == (True, asked)


class Guarded(http.server.BaseHTTPRequestHandler):
    """A gateway that asks for a key."""

    def do_GET(self) -> None:
        self._answer(200, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers["Authorization"] == "Bearer right"
        self._answer(200 if known else 401, body if known else b"no key")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("key", "ready"), [("", True), ("right", True), ("wrong", False)])
def test_a_gateway_that_asks_for_a_key_is_ready_unless_ours_is_refused(key: str, ready: bool):
    with http.server.HTTPServer((LOOPBACK, 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        probe = GatewayProbe(server.server_port, "/echo", 1, 1.0, key)
        found = probe.is_ready()
        server.shutdown()

    assert found is ready
    assert ready or "POST /echo gives 401: no key" in probe.missing


class RunningStack:
    """`make run` in *folder*, all its output, and how long it took to end after the last Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.took_s = 0.0
        self._interrupted_s = 0.0
        env = {"PORT": str(free_port()), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.devstack"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=clean_environment(env),
        )

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def read_until(self, text: str) -> str:
        with limited(self._process):
            for line in self._output:
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"{text!r} not said: {''.join(self.lines)}")

    def interrupt(self) -> None:
        self._interrupted_s = time.monotonic()
        self._process.send_signal(signal.SIGINT)

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._process.kill()
        with limited(self._process), self._process:
            self.lines += self._output
        self.took_s = time.monotonic() - self._interrupted_s


@contextmanager
def limited(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kill *process* when the block takes too long, so that reading from it comes to an end."""
    timer = threading.Timer(RUN_LIMIT_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def project(folder: Path, **processes: str) -> None:
    lines = [f"{name}: {command}\n" for name, command in processes.items()]
    (folder / "Procfile").write_text("".join(lines))
    (folder / "front.py").write_text(GATEWAY)
    (folder / "back.py").write_text(WORKER)
    (folder / "routes.toml").write_text('[[route]]\npath = "/echo"\ntopic = "echo"\n')


def ignore(_line: str) -> None:
    pass


def start_python(code: str, output: Callable[[str], None] = ignore) -> Child:
    return Child.start([sys.executable, "-c", code], output=output)


def start_family(manners: str) -> Child:
    said: list[str] = []
    child = Child.start([sys.executable, "-c", FAMILY, manners], output=said.append)
    assert wait_until(lambda: bool(said), LIMIT_S)
    assert len(group_states(child.pid)) == 2
    return child


def gone(group: int) -> bool:
    """Say whether no process of *group* is left; zombies that wait for a collector do not count."""
    return all(state.startswith("Z") for state in group_states(group))


def redis_says(redis: EmbeddedRedis, command: str) -> str:
    with socket.create_connection((LOOPBACK, redis.port), LIMIT_S) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096).decode()


def first_record(kafka: dict[str, list[str]], topic: str) -> bytes:
    consumer = KafkaConsumer(**kafka, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    consumer.assign([TopicPartition(topic, 0)])
    try:
        return bytes(next(consumer).value)
    finally:
        consumer.close()


def clean_environment(env: dict[str, str]) -> dict[str, str]:
    ours = ("KAFKA_", "REDIS_", "REPLY_", "REPLIES_", "SECRET_KEY", "PORT", "ROUTES_FILE")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return rest | env


def run_devstack(env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tools.devstack"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(env),
        timeout=60,
        check=False,
    )
