"""The package as another project has it: built, installed in a folder of its own, used as docs/testing.md shows."""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from deploy.local.aws import PYTHON, ROOT, LocalAws
from tests.docs.pages import blocks, page, section
from tests.support import descendants, eventually, is_running
from workers.testing import emulator

pytestmark = pytest.mark.process
ENDS_S = 280
OPTIONS = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "asyncio_default_fixture_loop_scope=function"]
TREE = "workers/testing/_tree/"


def run(*arguments: object, cwd: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Run Python; return what it prints. Raises `CalledProcessError` if it fails."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


class Project:
    """An empty project, with the wheel in its environment and nothing of this repository in the folder."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self._home = folder
        target = folder / "installed"
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
        run(*pip, "--target", target, wheel, cwd=folder)
        # The emulator, as the first run would install it.
        (cached := emulator.cache_folder(self.environment())).mkdir(parents=True)
        requirements = target / TREE / "requirements-local-aws.txt"
        (cached / f"local-aws-{emulator.key(requirements)}").symlink_to(PYTHON.parents[1])
        self._target = target

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(self._home / "installed"),
            "XDG_CACHE_HOME": str(self._home / "cache"),
            "TMPDIR": str(self._home),
            **more,
        }

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *OPTIONS, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def test(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run pytest; return its exit code and what it prints."""
        with self.start(*arguments, **environment) as process:
            output, _ = process.communicate(timeout=ENDS_S)
        return process.returncode, output


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(wheel, tmp_path_factory.mktemp("own"))


@pytest.fixture
def project(installed: Project) -> Iterator[Project]:
    yield installed
    for path in installed.folder.glob("*.py"):
        path.unlink()


def names(wheel: Path) -> Sequence[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_has_the_package_and_in_it_what_the_local_aws_needs(wheel: Path) -> None:
    found = names(wheel)

    assert {name.split("/")[0] for name in found} == {"workers", wheel.name.split("-py3")[0] + ".dist-info"}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "workers").rglob("*") if path.is_file()}
    ours = {name for name in found if name.startswith("workers/") and not name.startswith(TREE)}
    assert ours == {source for source in sources if "__pycache__" not in source}
    bundled = {name.removeprefix(TREE) for name in found if name.startswith(TREE)}
    assert {"deploy/pipeline.yaml", "deploy/local/session.py", "lambda/verify_cc_and_price.py"} <= bundled
    with zipfile.ZipFile(wheel) as archive:
        differing = [name for name in bundled if archive.read(TREE + name) != (ROOT / name).read_bytes()]
    assert differing == []


def test_the_wheel_of_the_source_distribution_is_the_same(built: Path, wheel: Path, tmp_path: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    run("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist", cwd=unpacked)
    (again,) = (tmp_path / "dist").iterdir()
    assert again.read_bytes() == wheel.read_bytes()


def test_the_tests_of_the_page_pass_in_another_project(project: Project) -> None:
    handler, through_queues, alone = blocks(section(page("docs/testing.md"), "Tests in your own project"), "python")
    project.write("returns.py", handler)
    project.write("test_shop.py", through_queues)
    project.write("test_returns.py", alone)
    project.write("deploy.py", "raise ImportError('a project may have a module of this name')")

    code, output = project.test(PYTHONSAFEPATH="1")

    assert (code, "3 passed" in output) == (0, True), output


FAILING = """
import time

import pytest

def test_a_handler_that_cannot_be_imported(start_worker, queues):
    queues.create("Returns")
    start_worker("broken:accept", "Returns", ready=False).wait()
    start_worker("broken:accept", "Returns")

def test_an_order_that_was_escalated(start_worker, orders, order, case, queues):
    queues.send("EscalationDLQ", "of this test only")
    start_worker("escalation")
    malformed = orders.submit(name=None)
    assert case(malformed, state="OPEN").reasons == ("MALFORMED_ORDER",)
    for _ in range(600):  # The execution ends after it has sent the escalation.
        with pytest.raises(AssertionError) as raised:
            order(malformed, timeout_s=0)
        if "FAILED" in str(raised.value):
            break
        time.sleep(0.1)
    print(str(raised.value).replace(malformed, "ID"))
    order_id = orders.submit(price=0)
    order(order_id, status="ESCALATED")
    order(order_id, status="FULFILLED", timeout_s=0)

def test_names_that_are_wrong(start_worker, queues, case, order, workers_stack):
    queues.create("Deleted")
    workers_stack.client("sqs").delete_queue(QueueUrl=queues.url("Deleted"))
    for call in (
        lambda: start_worker("fulfilment"),
        lambda: start_worker("escalation", queue="EscalationQueue"),
        lambda: start_worker("returns:accept"),
        lambda: start_worker("returns:accept", queue="Returns"),
        lambda: queues.send("Retruns", "x"),
        lambda: queues.create("EscalationQueue"),
        lambda: queues.create("Returns.fifo"),
        lambda: order("1", state="FULFILLED"),
        lambda: queues.receive("EscalationDLQ", timeout_s=0),
    ):
        try:
            call()
        except Exception as error:
            print(f"{type(error).__name__}: {error}")

def test_a_dead_letter(start_worker, queues, workers_stack):
    print(workers_stack.name_prefix, queues.create("Returns"))
    worker = start_worker("strict:accept", queue="Returns", env={"WORKER_MAX_ATTEMPTS": 1})
    queues.send("Returns", {"number": 1}, Who="Ada")
    [letter] = queues.receive("ReturnsDLQ")
    worker.wait_for("message.dead_lettered")
    with pytest.raises(AssertionError, match="(?s)strict:accept runs. Its last lines:.*message.dead_lettered"):
        queues.receive("ReturnsDLQ", timeout_s=0)
    assert letter.json() == {"number": 1}
    assert letter.attributes["Who"] == "Ada"
    assert letter.attributes["Reason"] == "PERMANENT_ERROR: the settings are ['ORDER_DB', 'RETURNS_DB']"
"""
STRICT = """
import os
from workers import PermanentError

async def accept(message):
    names = "FULFILLMENT_URL", "OTEL_TRACES_EXPORTER", "ORDER_DB", "RETURNS_DB"
    raise PermanentError(f"the settings are {[name for name in names if name in os.environ]}")
"""


def test_failures_say_why_and_a_given_endpoint_is_left_as_it_was(project: Project, local_aws: LocalAws) -> None:
    project.write("broken.py", "import no_such_module")
    project.write("strict.py", STRICT)
    project.write("test_failing.py", FAILING)
    stacks = local_aws.client("cloudformation").describe_stacks
    queues = local_aws.client("sqs").list_queues
    before = [stack["StackName"] for stack in stacks()["Stacks"]], queues().get("QueueUrls")

    code, output = project.test(
        "-rP",
        AWS_ENDPOINT_URL=local_aws.endpoint,
        AWS_PROFILE="production",
        FULFILLMENT_URL="https://shop.example",
        OTEL_TRACES_EXPORTER="otlp",
        ORDER_DB="a setting of the project",
        RETURNS_DB="another",
    )

    assert (code, "2 failed, 2 passed" in output) == (1, True), output
    assert "broken:accept was not ready before broken:accept ended with exit code 1" in output
    assert "No module named 'no_such_module'" in output
    assert "has status 'ESCALATED', and did not get status='FULFILLED' within 0 s" in output
    line = "There was no order ID (its workflow is FAILED, MalformedOrder: Malformed fields: Name.) within 0 s"
    assert line in output
    assert "escalation runs. Its last lines:" in output
    assert "escalation.routed" in output
    for line in (
        "ValueError: start_worker('fulfilment'): must be 'fulfillment' or 'escalation', or 'module:handler'",
        "ValueError: start_worker('escalation'): it consumes the queue of the stack, leave queue out",
        "ValueError: start_worker('returns:accept'): name its queue, queue=...",
        "ValueError: there is no queue Returns: queues.create('Returns') makes one. There are: OrderFulfillmentQueue, ",
        "ValueError: there is no queue Retruns: ",
        "ValueError: queues.create('EscalationQueue'): there is a queue of this name already",
        "ValueError: queues.create('Returns.fifo'): must be 1 to 64 letters, digits, - or _; FIFO queues are ",
        "TypeError: order(...) got state; the fields are: order_id, status, ",
        "AssertionError: EscalationDLQ had 0 of 1 messages within 0 s",
    ):
        assert f"\n{line}" in output, output
    assert ([stack["StackName"] for stack in stacks()["Stacks"]], queues().get("QueueUrls")) == before


@pytest.mark.parametrize("is_given", [False, True])
def test_nothing_outlives_a_killed_session(project: Project, local_aws: LocalAws, *, is_given: bool) -> None:
    queues = local_aws.client("sqs").list_queues
    before = queues().get("QueueUrls")
    project.write("returns.py", "async def accept(message): ...")
    project.write(
        "test_hanging.py",
        "import time\n"
        "def test_it(start_worker, queues):\n"
        "    queues.create('Returns')\n"
        "    start_worker('returns:accept', queue='Returns').wait_for('worker.started')\n"
        "    print('hanging', flush=True)\n"
        "    time.sleep(600)\n",
    )
    with project.start("-s", **({"AWS_ENDPOINT_URL": local_aws.endpoint} if is_given else {})) as process:
        assert process.stdout is not None
        seen = next((line for line in process.stdout if "hanging" in line), None)
        children = descendants(process.pid)
        process.kill()

    assert seen is not None
    assert len(children) >= (2 if is_given else 3)  # The session, its local AWS, the worker.
    eventually(lambda: not any(is_running(pid) for pid in children))
    assert queues().get("QueueUrls") == before
    assert (project.folder / "returns.py").exists()


def test_where_aws_may_not_be_used_one_line_says_so(project: Project) -> None:
    project.write("test_it.py", "def test_it(orders): ...")
    code, output = project.test(AWS_ENDPOINT_URL="https://sqs.us-east-1.amazonaws.com")
    assert code == 1
    line = "workers.testing: AWS_ENDPOINT_URL is an address of AWS itself (sqs.us-east-1.amazonaws.com): "
    assert f"\n{line}tests use a local AWS only\n" in output
    assert "Traceback" not in output


def test_a_project_that_uses_no_fixture_pays_nothing(project: Project) -> None:
    project.write(
        "test_it.py",
        "import sys\ndef test_it():\n    print(sorted(name for name in sys.modules if name.startswith('workers')))\n",
    )
    code, output = project.test("-rP")
    assert code == 0
    assert "['workers', 'workers.testing', 'workers.testing.plugin']" in output
