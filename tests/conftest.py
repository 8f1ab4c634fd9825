"""
Fixtures for tests of the whole pipeline. Their types, with documentation, are in tests/support.py.

- `local_aws`: one local AWS for the session, on a free loopback port, with temporary state.
- `stack`: deploy/pipeline.yaml on it, deployed with the real deployer. Tests share it: use your own order ids.
- `deploy_stack(name_prefix)`: a stack for one test, if it needs empty queues or breaks resources.
- `start_worker(name)`: a worker process, killed after the test.

All of them ignore the caller's `AWS_*` variables and profiles.

With `pytest -n`, each process has a session of its own: its own local AWS, its own stack. The hooks below distribute
the tests over the processes.
"""

import contextlib
import gc
import itertools
import logging
import os
import random
import signal
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from xdist.scheduler import LoadScopeScheduling

import deploy.local.aws
from deploy.aws import Aws
from deploy.local.aws import LocalAws
from deploy.progress import Progress
from deploy.stacks import pipeline
from tests.sdk_models import share_sdk_models
from tests.support import DeployedStack, DeployStack, StartWorker, Worker, run_worker
from workers.testing.sdk import REGION

# A wait or backoff of one second in a state machine takes 20 ms.
WAIT_SCALE = 0.02
SESSION_PREFIX = "test-"
# Short, so that tests are fast. Tests of these settings use their own values.
WORKER_DEFAULTS = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "5", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}

# Property-based tests try the same few examples in every run. HYPOTHESIS_PROFILE=explore tries many new ones, for as
# long as that takes. None fails because the machine is slow.
_UNTIMED = settings(
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("suite", _UNTIMED, derandomize=True, max_examples=40)
settings.register_profile("mutation", settings.get_profile("suite"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("explore", _UNTIMED, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "suite")

# As a worker logs by default. Otherwise tests would spend their time on printing lines at DEBUG; see `at_debug`.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))

# What takes longest, 20 s or more, starts first, so that at the end no process still has a lot to do. The rest keeps
# pytest's order, which ends with hundreds of short tests.
LONGEST_FIRST = (
    "tests/bench/test_bench.py",
    "tests/chaos/test_chaos.py",
    "tests/soak/test_soak.py",
    "tests/integration/test_orders_day.py",
    "tests/integration/test_bulk_intake.py",
    "tests/integration/test_processes.py",
    "tests/deploy/local/test_commands.py",
    "tests/integration/test_routing.py",
    "tests/statemachine/test_workflow.py",
    "tests/docs/test_consoles.py",
    "tests/integration/test_orders_show.py",
    "tests/docs/test_pictures.py",
    "tests/integration/test_orders_story.py",
    "tests/deploy/test_main.py",
    "tests/integration/test_start.py",
    "tests/acceptance/test_acceptance.py",
    "tests/integration/test_orders_dead_letters.py",
    "tests/workers/testing/test_installed.py",
    "tests/chaos/test_crash_moments.py",
    "tests/integration/test_orders_escalations.py",
    "tests/integration/test_orders_submit.py",
    "tests/deploy/stacks/test_pipeline.py",
    "tests/chaos/test_escalation_groups.py",
    "tests/integration/test_http_provider.py",
    "tests/mutation/test_mutation.py",
    "tests/deploy/stacks/test_changes.py",
    "tests/integration/test_escalation_backlog.py",
    "tests/deploy/test_image.py",
    "tests/upgrade/test_version_1.py",
)
# The tests of a file run in one process, which sets up their fixtures once. These share none that take long.
ONE_BY_ONE = (
    "tests/acceptance/test_acceptance.py",
    "tests/answers/test_answers.py",
    "tests/chaos/test_chaos.py",
    "tests/chaos/test_stop.py",
    "tests/deploy/local/test_aws.py",
    "tests/deploy/test_main.py",
    "tests/integration/test_http_provider.py",
    "tests/integration/test_processes.py",
    "tests/integration/test_routing.py",
    "tests/soak/test_soak.py",
    "tests/deploy/local/test_commands.py",
    "tests/docs/test_consoles.py",
    "tests/docs/test_pictures.py",
)
# Fixtures that start processes. Tests that do so without them have the mark `process`; all others are unit tests.
STARTING = {"local_aws", "start_worker", "certificate"}
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "pty.spawn"}
MAX_PROCESSES = 8  # Each, with its local AWS and its workers, needs up to 0.6 GB.

# Whether the test that runs is a unit test; empty between tests.
unit_test: list[bool] = []


share_sdk_models()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of the chaos tests here, so that all processes have the same one and it is shown."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # Behind `&` in a script. Tests send it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("CHAOS_SEED", str(random.SystemRandom().randrange(1_000_000)))
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(FailureNames(config))
    if hasattr(config, "workerinput") and config.getoption("durations", None) is None:
        for plugin in config.pluginmanager.get_plugins():
            if type(plugin).__name__ == "WorkerInteractor":
                send_less(plugin)


def send_less(interactor: Any) -> None:
    """
    Keep a process of xdist from sending what nobody reads: that a test starts, and that its setup or teardown passed.

    That is half of the messages, and for a short test they take as long as the test. `--durations` reads them.
    """
    send = interactor.sendevent

    def sendevent(name: str, **fields: Any) -> None:
        if name == "logstart":
            return
        if name == "testreport" and fields["data"]["outcome"] == "passed" and fields["data"]["when"] != "call":
            return
        send(name, **fields)

    interactor.sendevent = sendevent


def pytest_report_header() -> str:
    return f"chaos: CHAOS_SEED={os.environ['CHAOS_SEED']}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes `-n auto` starts: more than there are cores, because tests of processes mostly wait."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_PROCESSES, cores + 1 if config.getoption("markexpr") == "unit" else 3 * cores)


class FilesInOrder(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process that is free the next file, or the next test of the files in `ONE_BY_ONE`."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in ONE_BY_ONE else file

    def _pending_of(self, workload: dict[str, dict[str, bool]]) -> int:
        """Return how many tests are left of a process's files. It tests one after the other, so only the last count."""
        pending = 0
        for tests in reversed(workload.values()):
            left = list(tests.values()).count(False)
            pending += left
            if left < len(tests):
                break
        return pending


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False  # It would start with the files that have the most tests.
    return FilesInOrder(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """
    Collect without the garbage collector: it would look again and again at what stays, a quarter of the CPU time.

    The tests run with one that looks less often, which takes 7 % less.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # What there is now stays until the end.
        gc.set_threshold(100_000, 50, 100)
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish() -> Generator[None, object, object]:
    """
    Look for garbage once, and leave what is still in use out of later looks.

    At its end pytest looks ten times, for resources that were not closed: each took 0.4 s.
    """
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)  # Before `-m` looks at the marks.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the unit tests. If the tests are distributed, start with `LONGEST_FIRST`."""
    for item in items:
        marked = any(item.get_closest_marker(name) for name in ("process", "chaos", "exhaustive"))
        if not marked and STARTING.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("unit")
    if hasattr(config, "workerinput"):
        ranks = {file: rank for rank, file in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let unit tests start no process, so that `-m unit` is what it says."""
    unit_test.append(item.get_closest_marker("unit") is not None)
    try:
        return (yield)
    finally:
        unit_test.pop()


def refuse_processes(event: str, _: object) -> None:
    """
    Raise an error if a unit test starts a process.

    Raises:
        RuntimeError: It does.
    """
    if event in STARTS and unit_test and unit_test[-1]:
        raise RuntimeError("a unit test started a process: give it the mark `process`")


sys.addaudithook(refuse_processes)


class FailureNames:
    """Names each failed test at once. pytest shows why at the end of the run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if report.failed and reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"FAILED {report.nodeid}")


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    """`.endpoint`, `.environment` for child processes, `.client("sqs")` for a boto3 client."""
    with deploy.local.aws.local_aws(wait_scale=WAIT_SCALE) as aws:
        yield aws


@pytest.fixture(scope="session")
def aws(local_aws: LocalAws) -> Aws:
    """The deployer's clients, for the local AWS."""
    return Aws.of(local_aws.client, REGION)


@pytest.fixture(scope="session")
def deploy_stack(local_aws: LocalAws, aws: Aws) -> DeployStack:
    """Deploy the pipeline under a name prefix; it ends with the session's local AWS."""

    def deployed(name_prefix: str, **parameters: str) -> DeployedStack:
        given = {"SweepState": "DISABLED", **parameters}  # Tests start the sweep themselves.
        deployment = pipeline.up(aws, name_prefix, Progress(quiet=True), given=given)
        return DeployedStack(local_aws, name_prefix, deployment.outputs)

    return deployed


@pytest.fixture(scope="session")
def stack(deploy_stack: DeployStack) -> DeployedStack:
    """The session's stack: `.outputs["StateMachineArn"]`, `.order_table`, `.worker_environment()`, `.client("sqs")`."""
    return deploy_stack(SESSION_PREFIX)


@pytest.fixture
def at_debug() -> Iterator[None]:
    """Log at DEBUG, too."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    yield
    structlog.configure(**before)


@pytest.fixture
def start_worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartWorker]:
    """Start `python -m workers <name>` on the session's stack or on `stack`; kill it after the test."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as running:

        def started(name: str, *, stack: DeployedStack | None = None, env: Mapping[str, str] | None = None) -> Worker:
            served: DeployedStack = stack or request.getfixturevalue("stack")
            environment = served.worker_environment() | WORKER_DEFAULTS | dict(env or {})
            worker = run_worker(name, environment, tmp_path / f"{name.split(maxsplit=1)[0]}-{next(numbers)}.log")
            running.callback(worker.kill)
            return worker

        yield started
