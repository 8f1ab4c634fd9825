"""The steps of `local`, `run` and `demo`, and what they print. Nothing is started: a server and workers are given."""

import contextlib
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.local import commands, samples
from deploy.local.log_lines import LogLine
from deploy.local.samples import EXPECTED, Outcome
from deploy.stacks.pipeline import Deployment

OUTPUTS = {
    "OrderTableName": "Orders",
    "EscalationTableName": "Cases",
    "OrderFulfillmentQueueName": "Fulfillment",
    "EscalationQueueName": "Escalation queue",
    "OrderFulfillmentQueueUrl": "http://q/1",
    "OrderFulfillmentDLQUrl": "http://q/2",
    "EscalationQueueUrl": "http://q/3",
    "EscalationDLQUrl": "http://q/4",
    "OrderIntakeBucketName": "order-intake-1",
    "StateMachineArn": "arn:machine",
}
ENDPOINT = "http://127.0.0.1:4567"
VARIABLES = {
    "ORDER_TABLE": "Orders",
    "ESCALATION_TABLE": "Cases",
    "ORDER_FULFILLMENT_QUEUE": "Fulfillment",
    "ESCALATION_QUEUE": "Escalation queue",
    "STATE_MACHINE": "arn:machine",
}
STATES = {
    "OrderFulfillmentQueue": "Put message in OrderFulfillment Queue",
    "EscalationQueue": "Put message in Escalation Queue",
}
OUTCOMES = [
    Outcome(order_id, "SUCCEEDED", (STATES[expected.queue],), expected.item_status, expected.worker)
    for order_id, expected in EXPECTED.items()
]


class System:
    """A local AWS, a deployment and workers in memory. `steps` records what is done with them, in order."""

    def __init__(self, directory: Path) -> None:
        self.steps: list[Any] = []
        self.outcomes = OUTCOMES
        self.failures: list[str] = []
        self.server_ends = False
        self.end: Callable[[], None] = self.interrupt
        self.console: Any = None
        self.lines: list[LogLine | None] = [LogLine.parse('{"event": "order.fulfilled", "order_id": "9"}'), None]
        log_path = directory / "local-aws.log"
        log_path.write_text("log of the server", encoding="utf-8")
        self.server = SimpleNamespace(
            endpoint=ENDPOINT,
            environment={"AWS_ENDPOINT_URL": ENDPOINT},
            log_path=log_path,
            client=lambda service: f"client of {service}",
            wait=self.wait,
            check=self.check,
        )

    def wait(self) -> None:
        self.end()

    def check(self) -> None:
        if self.server_ends:
            raise DeployError("The local AWS has ended")

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def local_aws(self, *, starting: Callable[[], None], waiting: Any, **given: Any) -> Iterator[Any]:
        self.steps.append(("local_aws", given))
        starting()
        assert waiting.__name__ == "waiting"
        yield self.server
        self.steps.append("local AWS stopped")

    def up(self, aws: Any, name_prefix: str, _progress: Any, *, given: Any, review: Any) -> Deployment:
        self.steps.append(("up", aws, name_prefix, given, review.remedy, review.confirm()))
        return Deployment("stack", OUTPUTS, {"OrderRetentionDays": ""} | given, changed=True)

    @contextlib.contextmanager
    def local_workers(
        self,
        environment: Any,
        log_path: Path,
        on_line: Any = None,
        *,
        restart: bool = False,
        note: Any = None,
        console: Any = None,
    ) -> Iterator[Any]:
        self.console = console
        self.steps.append(("workers", environment, log_path, on_line is not None, restart))

        def read(_timeout_s: float) -> LogLine | None:
            if not self.lines:
                raise TimeoutError
            line = self.lines.pop(0)
            if line is None:
                self.end()
            elif on_line is not None:
                on_line(line)
            return line

        if note is not None:
            note("noted")
        urls = {"fulfillment": "http://127.0.0.1:81", "escalation": "http://127.0.0.1:82"}
        yield SimpleNamespace(
            health_urls=urls, read=read, reason=lambda: "fulfillment: no", failures=lambda: self.failures
        )
        self.steps.append("workers stopped")

    def start(self, aws: Any, state_machine_arn: str) -> str:
        self.steps.append(("start", aws, state_machine_arn))
        return "started"

    def follow(self, aws: Any, table: str, started: str, _workers: Any, _progress: Any) -> list[Outcome]:
        self.steps.append(("follow", aws, table, started))
        return self.outcomes


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> System:
    made = System(tmp_path)
    monkeypatch.setattr("deploy.local.aws.local_aws", made.local_aws)
    monkeypatch.setattr("deploy.stacks.pipeline.up", made.up)
    monkeypatch.setattr(commands, "local_workers", made.local_workers)
    monkeypatch.setattr(samples, "start", made.start)
    monkeypatch.setattr(samples, "follow", made.follow)
    monkeypatch.setattr("deploy.aws.Aws.of", lambda client, region: f"{client('x')} in {region}")
    monkeypatch.setattr(
        commands, "check_settings", lambda environ: made.steps.append(("checked", environ is os.environ))
    )
    return made


AWS = "client of x in us-east-1"
SAMPLES = [("start", AWS, "arn:machine"), ("follow", AWS, "Orders", "started")]
FOR_EVER = {"OrderRetentionDays": "", "SweepState": "ENABLED"}
DEPLOYED = ("up", AWS, "", FOR_EVER, "To do it anyway: --allow-replacement", True)
MAKE_ENV = f'The local AWS is at {ENDPOINT}; in another terminal: eval "$(make env)"'


def test_local_publishes_the_variables_until_ctrl_c(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    published: list[str] = []

    def end() -> None:
        published.append((tmp_path / "state" / "env").read_text(encoding="utf-8"))
        raise KeyboardInterrupt

    system.end = end
    assert commands.local(4567, tmp_path / "state") == 0
    assert system.steps == [
        ("local_aws", {"state": None, "port": 4567, "preferred_port": 4566}),
        DEPLOYED,
        "local AWS stopped",
    ]
    out, err = capsys.readouterr()
    assert [f"{text}# The local AWS is ready\n" for text in published] == [out]
    assert f"export AWS_ENDPOINT_URL={ENDPOINT}\n" in out
    assert "export ORDER_TABLE=Orders\nexport ESCALATION_TABLE=Cases\n" in out
    assert "export ESCALATION_QUEUE='Escalation queue'\nexport STATE_MACHINE=arn:machine\n" in out
    assert "export ORDER_FULFILLMENT_QUEUE_URL=http://q/1\nexport ORDER_FULFILLMENT_DLQ_URL=http://q/2\n" in out
    assert "export ESCALATION_QUEUE_URL=http://q/3\nexport ESCALATION_DLQ_URL=http://q/4\n" in out
    assert "export ORDER_INTAKE_BUCKET=order-intake-1\n" in out
    assert "export ORDER_RETENTION_DAYS=''\nno_proxy=" in out
    assert published[0].endswith('export no_proxy NO_PROXY="$no_proxy"\n')
    assert err.splitlines() == ["Starting a local AWS", MAKE_ENV, "Press Ctrl-C to stop"]
    assert not (tmp_path / "state" / "env").exists()


def test_what_scripts_wait_for_is_printed_at_once(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed, seen = io.BytesIO(), list[bytes]()

    def end() -> None:
        seen.append(printed.getvalue())
        raise KeyboardInterrupt

    system.end = end
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", io.TextIOWrapper(io.BufferedWriter(printed), encoding="utf-8"))
        commands.local(4567, tmp_path / "state")
        commands._show_line(LogLine("text", {}))
        assert printed.getvalue().endswith(b"text\n")
    assert seen[0].endswith(b"# The local AWS is ready\n")


def test_a_person_may_remove_the_variables(system: System, tmp_path: Path) -> None:
    state = tmp_path / "in" / "state"

    def end() -> None:
        (state / "env").unlink()
        raise KeyboardInterrupt

    system.end = end
    assert commands.local(None, state) == 0


def test_a_local_aws_that_ends_is_an_error(system: System, tmp_path: Path) -> None:
    def end() -> None:
        raise DeployError("ended")

    system.end = end
    with pytest.raises(DeployError, match=r"^ended$"):
        commands.local(None, tmp_path)
    assert not (tmp_path / "env").exists()


def test_a_second_run_says_how_to_reach_it_and_leaves_the_first_ones_text(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "env").write_text("of the first", encoding="utf-8")
    with (tmp_path / "env.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert commands.local(None, tmp_path) == 0
    assert (tmp_path / "env").read_text(encoding="utf-8") == "of the first"
    assert capsys.readouterr().err.splitlines()[1:3] == [
        "Another local AWS is running here. Until it ends, `make env` points at that one",
        f"{MAKE_ENV}; export AWS_ENDPOINT_URL={ENDPOINT}",
    ]
    assert system.steps[-1] == "local AWS stopped"


def test_run_shows_the_samples_and_the_logs_until_ctrl_c(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert commands.run(None, tmp_path) == 0
    remedy = f"To start over without it: rm -r {tmp_path}"
    assert system.steps == [
        ("checked", True),
        ("local_aws", {"state": tmp_path, "port": None, "preferred_port": 4566}),
        ("up", AWS, "", FOR_EVER, remedy, True),
        ("workers", {"AWS_ENDPOINT_URL": ENDPOINT, **VARIABLES}, tmp_path / "workers.log", True, True),
        *SAMPLES,
        "workers stopped",
        "local AWS stopped",
    ]
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines() if line.startswith("00")] == [*EXPECTED]
    assert "order.fulfilled" in out.splitlines()[-1]
    assert out.splitlines()[-1].endswith("order_id=9")
    assert err.splitlines() == [
        "Starting a local AWS",
        "noted",
        "Starting the sample orders",
        MAKE_ENV,
        "Health checks and metrics: fulfillment=http://127.0.0.1:81, escalation=http://127.0.0.1:82",
        f"The workers' logs until Ctrl-C (as JSON in {tmp_path}/workers.log):",
    ]


def test_a_run_prints_the_address_of_its_console_once_it_listens(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    started = LogLine.parse('{"event": "console.started"}')
    published: list[str] = []
    system.lines = [started, started, None]
    system.end = lambda: published.append((tmp_path / "env").read_text(encoding="utf-8"))
    with pytest.raises(DeployError):
        commands.run(None, tmp_path)
    out, err = capsys.readouterr()
    token = system.console.token
    assert len(token) > 40
    assert err.splitlines()[-1] == f"Open the console: http://127.0.0.1:{system.console.port}/?token={token}"
    assert (err.count(token), token in out, token in published[0]) == (1, False, False)


def test_the_token_of_the_console_may_be_given(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSOLE_TOKEN", "a" * 22)
    assert commands.run(None, tmp_path) == 0
    assert system.console.token == "a" * 22
    monkeypatch.setenv("CONSOLE_TOKEN", "too short")
    system.steps.clear()
    with pytest.raises(DeployError) as raised:
        commands.run(None, tmp_path)
    assert str(raised.value) == ("CONSOLE_TOKEN must have at least 22 characters, all of them letters, digits, - or _")
    assert system.steps == [("checked", True)]


def test_without_jinja_a_run_has_no_console_and_says_how_to_get_it(
    system: System, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.console.find_spec", lambda _: None)
    assert commands.run(None, tmp_path) == 0
    assert system.console is None
    assert "Jinja2 is not installed" in capsys.readouterr().err


def test_a_run_publishes_the_addresses_of_its_workers(system: System, tmp_path: Path) -> None:
    published: list[str] = []
    system.end = lambda: published.append((tmp_path / "env").read_text(encoding="utf-8"))
    with pytest.raises(DeployError):
        commands.run(None, tmp_path)
    assert published[0].endswith(
        "export WORKER_HEALTH_URLS='fulfillment=http://127.0.0.1:81 escalation=http://127.0.0.1:82'\n"
    )


def test_a_run_whose_workers_end_says_why(system: System, tmp_path: Path) -> None:
    system.end = lambda: None
    with pytest.raises(DeployError) as raised:
        commands.run(4567, tmp_path)
    assert str(raised.value) == "The workers have ended:\nfulfillment: no"
    assert system.steps[1] == ("local_aws", {"state": tmp_path, "port": 4567, "preferred_port": 4566})


def test_a_run_whose_local_aws_ends_says_so_although_its_workers_wait_for_it(system: System, tmp_path: Path) -> None:
    system.lines, system.server_ends = [], True
    with pytest.raises(DeployError, match="The local AWS has ended"):
        commands.run(4567, tmp_path)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The directory that `demo` makes for its logs."""
    path = tmp_path / "logs"
    path.mkdir()

    def mkdtemp(*, prefix: str) -> str:
        assert prefix == "order-fulfillment-demo-"
        return str(path)

    monkeypatch.setattr("tempfile.mkdtemp", mkdtemp)
    return path


def test_a_demo_that_ends_as_expected_leaves_nothing(
    system: System, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.demo() == 0
    assert system.steps == [
        ("checked", True),
        ("local_aws", {"state": None, "port": None, "preferred_port": None}),
        DEPLOYED,
        ("workers", {"AWS_ENDPOINT_URL": ENDPOINT, **VARIABLES}, logs / "workers.log", False, False),
        *SAMPLES,
        "workers stopped",
        "local AWS stopped",
    ]
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines() if line.startswith("00")] == [*EXPECTED]
    assert err.splitlines()[-1] == "All four samples ended as expected"
    assert not logs.exists()


def test_a_demo_that_ends_otherwise_names_every_difference_and_its_logs(system: System, logs: Path) -> None:
    system.outcomes = [Outcome("001"), *OUTCOMES[2:]]
    system.failures = ["12:00 fulfillment.1 stopped (rc=1)"]
    with pytest.raises(DeployError) as raised:
        commands.demo()
    assert str(raised.value).splitlines() == [
        "001: execution is RUNNING, expected SUCCEEDED",
        "001: item is missing, expected FULFILLED",
        "001: queue is missing, expected OrderFulfillmentQueue",
        "001: worker is missing, expected order.fulfilled",
        "002: this sample is missing",
        "12:00 fulfillment.1 stopped (rc=1)",
        f"The logs are in {logs}",
    ]
    assert (logs / "local-aws.log").read_text(encoding="utf-8") == "log of the server"


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()], ids=repr)
def test_logs_that_cannot_be_removed_are_no_error_of_a_demo(
    system: System, logs: Path, error: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(*_: object) -> list[Outcome]:
        logs.rmdir()  # Then the log of the server becomes a file with this name.
        if error is not None:
            raise error
        return system.outcomes

    monkeypatch.setattr(samples, "follow", follow)
    with contextlib.nullcontext() if error is None else pytest.raises(KeyboardInterrupt):
        assert commands.demo() == 0
    assert logs.is_file()


@pytest.mark.parametrize("error", [DeployError("no port"), KeyboardInterrupt()], ids=repr)
def test_a_demo_that_fails_keeps_its_logs_and_an_interrupted_one_does_not(
    system: System, logs: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(samples, "follow", fail)
    with pytest.raises(type(error)) as raised:
        commands.demo()
    if isinstance(error, DeployError):
        assert str(raised.value) == f"no port\nThe logs are in {logs}"
    assert logs.exists() is isinstance(error, DeployError)
    assert system.steps[0] == ("checked", True)


def test_paths_are_shown_relative_to_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands._relative(tmp_path / "state" / "workers.log") == Path("state/workers.log")
    assert commands._relative(Path("/elsewhere/state")) == Path("/elsewhere/state")


@pytest.mark.parametrize(("terminal", "width"), [(True, None), (False, 120)])
def test_in_a_pipe_the_table_has_room(monkeypatch: pytest.MonkeyPatch, terminal: bool, width: int | None) -> None:
    made: list[Any] = []
    monkeypatch.setattr(commands, "Console", lambda **given: made.append(given))
    monkeypatch.setattr(commands, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: terminal)))
    commands._console()
    assert made == [{"highlight": False, "width": width}]
