"""The package as another project has it: built, installed in a folder of its own, used as docs/testing.md shows."""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from deploy.local.aws import PYTHON, ROOT
from tests.docs.pages import blocks, page, section
from workers.testing import emulator

pytestmark = pytest.mark.process
ENDS_S = 240
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

    code, output = project.test()

    assert (code, "3 passed" in output) == (0, True), output
