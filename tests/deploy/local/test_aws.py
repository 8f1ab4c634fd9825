"""The local AWS: on loopback only, with or without kept state, and stopped even if its starter is killed."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import deploy.local.aws
from deploy.errors import DeployError
from deploy.local.aws import ROOT, LocalAws, PortTakenError, Timeouts
from tests.support import eventually, is_running

pytestmark = pytest.mark.process


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the sockets of /proc")
def test_it_listens_on_loopback_only(local_aws: LocalAws) -> None:
    inodes = set()
    for descriptor in Path(f"/proc/{local_aws.pid}/fd").iterdir():
        target = str(descriptor.readlink()) if descriptor.is_symlink() else ""
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    listening = [
        fields[1]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:])
        if fields[9] in inodes and (fields[3] == "0A" or table.startswith("udp"))
    ]

    port = int(local_aws.endpoint.rsplit(":", 1)[1])
    assert listening == [f"0100007F:{port:04X}"]


def test_the_server_and_its_files_are_gone_after_the_block() -> None:
    with deploy.local.aws.local_aws() as server:
        assert is_running(server.pid)

    assert not is_running(server.pid)
    assert not server.directory.exists()


def test_a_state_directory_keeps_queues_and_objects(tmp_path: Path) -> None:
    with deploy.local.aws.local_aws(state=tmp_path) as server:
        url = server.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
        server.client("sqs").send_message(QueueUrl=url, MessageBody="hello")
        server.client("s3").create_bucket(Bucket="kept-bucket")
        server.client("s3").put_object(Bucket="kept-bucket", Key="key", Body=b"content")

    with deploy.local.aws.local_aws(state=tmp_path) as server:
        sqs, s3 = server.client("sqs"), server.client("s3")
        received = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="kept")["QueueUrl"])
        assert [message["Body"] for message in received["Messages"]] == ["hello"]
        assert s3.get_object(Bucket="kept-bucket", Key="key")["Body"].read() == b"content"


def test_a_second_run_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with (
        deploy.local.aws.local_aws(state=tmp_path),
        pytest.raises(DeployError, match=rf"Another run \(process {os.getpid()}\) is using the state"),
        deploy.local.aws.local_aws(state=tmp_path, timeouts=Timeouts(lock_s=0.1)),
    ):
        pass


def test_a_taken_port_is_an_error_and_a_taken_preferred_port_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(PortTakenError, match=f"Port {port} on 127.0.0.1 is taken"),
            deploy.local.aws.local_aws(port=port),
        ):
            pass
        with deploy.local.aws.local_aws(preferred_port=port) as server:
            assert not server.endpoint.endswith(f":{port}")


def test_another_port_is_tried_if_one_is_taken_after_the_check() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        deploy.local.aws.local_aws(preferred_port=taken.getsockname()[1], is_free=lambda _: True) as server,
    ):
        assert server.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_server_that_dies_at_the_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho the disk is full\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)

    with (
        pytest.raises(DeployError, match=r"(?s)ended with exit code 3 before it was ready:\n  the disk is full"),
        deploy.local.aws.local_aws(python=broken),
    ):
        pass


def test_a_missing_installation_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="make setup"), deploy.local.aws.local_aws(python=tmp_path / "nowhere"):
        pass


def test_a_server_that_hangs_at_the_start_is_killed(tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text(f'#!/bin/sh\necho $$ > {tmp_path}/pid\ntrap "" TERM\nsleep 600\n', encoding="utf-8")
    hanging.chmod(0o755)

    with (
        pytest.raises(DeployError, match="was not ready within"),
        deploy.local.aws.local_aws(python=hanging, timeouts=Timeouts(start_s=0.5, stop_s=0.5)),
    ):
        pass
    assert not is_running(int((tmp_path / "pid").read_text(encoding="ascii")))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_saves_its_state_and_ends_after_its_starter_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from deploy.local.aws import local_aws\n"
        "with local_aws(state=Path(sys.argv[1])) as server:\n"
        "    server.client('sqs').create_queue(QueueName='kept')\n"
        "    print(server.pid, server.directory, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout
        pid, directory = starter.stdout.readline().split()
        starter.send_signal(number)
        starter.wait()

    eventually(lambda: not is_running(int(pid)))
    assert not Path(directory).exists()
    with deploy.local.aws.local_aws(state=tmp_path) as server:
        assert len(server.client("sqs").list_queues()["QueueUrls"]) == 1


@pytest.mark.parametrize(
    ("lines", "tail"),
    [(0, "  (its log is empty)"), (2, "  line 0\n  line 1"), (20, "\n".join(f"  line {n}" for n in range(5, 20)))],
)
def test_the_end_of_a_log_is_fifteen_lines(tmp_path: Path, lines: int, tail: str) -> None:
    path = tmp_path / "log"
    assert deploy.local.aws._tail(path) == "  (its log is empty)"
    path.write_text("".join(f"line {n}\n" for n in range(lines)), encoding="utf-8")
    assert deploy.local.aws._tail(path) == tail


def server(directory: Path, state: Path | None = None, wait_scale: float | None = None) -> deploy.local.aws._Server:
    return deploy.local.aws._Server(Path("python"), directory, state, None, wait_scale, Timeouts(), lambda _: True)


def test_a_server_gets_few_of_our_own_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "PERSIST_STATE", "SFN_WAIT_SCALE", "LAMBDA_EXECUTOR"):
        monkeypatch.setenv(name, "ours")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.delenv("LC_ALL", raising=False)
    made = deploy.local.aws._server_environment(server(tmp_path), 4566, "token")
    assert {name: value for name, value in made.items() if name not in ("PATH", "HOME")} == {
        "LANG": "C",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": "4566",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": "us-east-1",
        "MINISTACK_EDITION": "token",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{tmp_path}/no-docker",
        "TMPDIR": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LOG_LEVEL": "WARNING",
    }


def test_a_server_keeps_its_state_and_shortens_waits_if_asked_to(tmp_path: Path) -> None:
    plain = deploy.local.aws._server_environment(server(tmp_path), 1, "t")
    made = deploy.local.aws._server_environment(server(tmp_path, tmp_path / "state", 0.0), 1, "t")
    assert dict(made.items() - plain.items()) == {
        "PERSIST_STATE": "1",
        "STATE_DIR": str(tmp_path / "state" / "services"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(tmp_path / "state" / "s3"),
        "SFN_WAIT_SCALE": "0.0",
    }


def test_a_locked_state_names_its_holder_and_is_free_again_afterward(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    with deploy.local.aws._locked(state, 0):
        assert (state / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"
        with (
            pytest.raises(DeployError, match=rf"Another run \(process {os.getpid()}\) is using the state in {state}"),
            deploy.local.aws._locked(state, 0.01),
        ):
            pass
    with deploy.local.aws._locked(state, 0):
        pass


def test_a_port_is_free_until_somebody_listens_on_it() -> None:
    port = deploy.local.aws._free_port()
    assert deploy.local.aws.port_is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not deploy.local.aws.port_is_free(port)


def test_five_ports_are_tried_the_preferred_one_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def taken(_server: object, port: int) -> LocalAws:
        tried.append(port)
        raise PortTakenError("taken")

    monkeypatch.setattr(deploy.local.aws, "_start", taken)
    with pytest.raises(DeployError, match="No free port for the local AWS"):
        deploy.local.aws._start_on_free_port(server(tmp_path), 4566)
    assert (len(tried), tried[0], 4566 in tried[1:]) == (5, 4566, False)


def test_the_timeouts_of_a_local_aws() -> None:
    assert Timeouts() == Timeouts(start_s=60.0, stop_s=15.0, lock_s=3.0)
