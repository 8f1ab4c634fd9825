"""
deploy/Dockerfile, as far as it can be tested without Docker: its instructions, and the workers that it starts.

The installation of packages is not repeated here. `make setup` does the same with the same hashes.
"""

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.deploy.cloudwatch import of_type
from tests.support import STOP_TIMEOUT_S, DeployedStack, Worker, free_port
from workers.testing import sdk

FORMS = {"RUN", "CMD", "ENTRYPOINT"}
# Without its capabilities, root cannot write to read-only files either.
WITHOUT_PRIVILEGES = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
WORKERS = ("fulfillment", "escalation")
# Imports every module of workers/. Prints their files, and the distributions of all other packages they imported.
IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
from importlib.metadata import packages_distributions
before = set(sys.modules)
import workers
for found in pkgutil.walk_packages(workers.__path__, "workers."):
    importlib.import_module(found.name)
files = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "workers"]
packages = {name.partition(".")[0] for name in set(sys.modules) - before} - {"workers"}
distributions = packages_distributions()
print(json.dumps([files, sorted({name for package in packages for name in distributions.get(package, ())})]))
"""


def instructions() -> list[tuple[str, str]]:
    """Return each instruction and its arguments. Continued lines are joined."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    found = [line.partition(" ") for line in lines if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def last_stage() -> dict[str, str]:
    """Return the last stage's instructions. If one occurs twice, the last counts."""
    steps = instructions()
    start = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
    return dict(steps[start:])


def exec_form(text: str) -> list[str]:
    """Return the words of an instruction in exec form. Raises `ValueError` if it would start a shell."""
    words = json.loads(text)
    assert all(isinstance(word, str) for word in words)
    return list(words)


def copied() -> list[tuple[str, str]]:
    """Return what is copied from the context: source and target."""
    return [
        (source, target)
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from=")
        for source, target in [rest.split()]
    ]


def step(word: str) -> list[str]:
    """Return the only RUN that contains `word`."""
    (found,) = [exec_form(rest) for name, rest in instructions() if name == "RUN" and word in exec_form(rest)]
    return found


def locked() -> dict[str, str]:
    """Return the requirements by the names of their packages."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return {requirement.partition("==")[0]: requirement for requirement in text.splitlines() if requirement.strip()}


def health_check() -> list[str]:
    return exec_form(last_stage()["HEALTHCHECK"].partition("CMD ")[2])


def test_nothing_is_run_through_a_shell() -> None:
    for name, rest in instructions():
        if name in FORMS:
            assert exec_form(rest), rest


def test_the_workers_get_the_signals_themselves() -> None:
    assert exec_form(last_stage()["ENTRYPOINT"]) == ["python", "-m", "workers"]


def test_it_does_not_run_as_root() -> None:
    user, _, group = last_stage()["USER"].partition(":")
    assert (int(user), int(group)) > (0, 0)
    for task in of_type("AWS::ECS::TaskDefinition").values():
        assert task["ContainerDefinitions"][0]["User"] == last_stage()["USER"]


def test_its_base_is_pinned() -> None:
    arguments: dict[str, str] = dict(rest.partition("=")[::2] for name, rest in instructions() if name == "ARG")
    assert re.fullmatch(r"3\.1[1-9]\.[0-9]+-slim-[a-z]+", arguments["PYTHON"])
    assert {rest.partition(" ")[0] for name, rest in instructions() if name == "FROM"} == {"python:${PYTHON}"}


def test_only_locked_packages_are_installed() -> None:
    install = step("install")
    assert {"--require-hashes", "--only-binary=:all:"} <= set(install)
    assert install[-2:] == ["--requirement", "/build/requirements.txt"]
    assert all("--hash=sha256:" in requirement for requirement in locked().values())


def test_only_copied_files_are_sent_to_the_builder() -> None:
    sources = [source for source, _ in copied()]
    assert all((ROOT / source).exists() for source in sources)
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rule.removeprefix("!") for rule in rules if rule.startswith("!")) == sorted(sources)


def test_docker_and_ecs_use_the_same_health_check() -> None:
    for task in of_type("AWS::ECS::TaskDefinition").values():
        container = task["ContainerDefinitions"][0]
        assert container["HealthCheck"]["Command"] == ["CMD", *health_check()]
        environment: dict[str, Any] = {
            variable["Name"]: variable["Value"] for variable in container["Environment"] if "Name" in variable
        }
        port = environment["WORKER_HEALTH_PORT"]
        assert f":{port}/" in health_check()[-1]
        assert f"WORKER_HEALTH_PORT={port}" in last_stage()["ENV"].split()
    assert "WORKER_HEALTH_HOST=0.0.0.0" in last_stage()["ENV"].split(), "reached from outside of the container"


@pytest.mark.process
def test_the_files_of_a_private_clone_become_readable_for_all(tmp_path: Path) -> None:
    source = tmp_path / "app" / "workers" / "module.py"
    source.parent.mkdir(parents=True)
    source.touch(mode=0o600)
    source.parent.chmod(0o700)
    names = [exec_form(rest) for name, rest in instructions() if name == "RUN"]
    assert names.index(step("chmod")) < names.index(step("compileall")), "bytecode gets the mode of its source file"

    subprocess.run([word.replace("/app", str(tmp_path / "app")) for word in step("chmod")], check=True)

    assert stat.S_IMODE(source.stat().st_mode) == 0o644
    assert stat.S_IMODE(source.parent.stat().st_mode) == 0o755


def left_out() -> list[str]:
    """Return the names of what .dockerignore leaves out of the copied folders."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [rule.rpartition("/")[2] for rule in rules if rule != "*" and not rule.startswith(("!", "#"))]


@pytest.mark.process
def test_what_only_tests_and_people_need_is_left_out(built: Path) -> None:
    assert left_out() == ["testing", "console", "__pycache__"]
    for name in ("testing", "console"):
        assert [path.name for path in (ROOT / "workers").rglob(name)] == [name], "no other folder has the name"
        assert not (built / "workers" / name).exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image's `/app`: copied and compiled by the Dockerfile's own steps, then made read-only."""
    root = tmp_path_factory.mktemp("root")
    application = root / "app"
    for source, target in copied():
        if target.startswith("/app"):
            shutil.copytree(ROOT / source, root / target.lstrip("/"), ignore=shutil.ignore_patterns(*left_out()))
    _, *compiling = step("compileall")
    arguments = [str(application) if word == "/app" else word for word in compiling if word != "/venv"]
    subprocess.run([sys.executable, *arguments], check=True, timeout=60)
    writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    everything = [application, *application.rglob("*")]
    for path in everything:
        path.chmod(path.stat().st_mode & ~writable)
    yield application
    for path in everything:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def image_environment(aws: Mapping[str, str], **settings: str) -> dict[str, str]:
    """Return the container's environment: the image's, the variables that point to `aws`, and `settings`."""
    image = dict(variable.split("=", 1) for variable in last_stage()["ENV"].split())
    of_aws = {name: value for name, value in aws.items() if name != "PYTHONPATH"}
    return {**of_aws, **image, "PATH": os.defpath, "LOG_FORMAT": "json", **settings}


@contextlib.contextmanager
def running(built: Path, name: str, environment: Mapping[str, str], log_path: Path) -> Iterator[Worker]:
    """Start a worker by the entry point, as an unprivileged user, and kill it at the end."""
    python, *arguments = exec_form(last_stage()["ENTRYPOINT"])
    assert python == health_check()[0] == "python"
    # The kernel ends the worker with this process, even if that is killed.
    prefix = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
    if os.geteuid() == 0:
        prefix += WITHOUT_PRIVILEGES
    assert subprocess.run([*prefix, "touch", built / "new"], check=False, capture_output=True).returncode == 1
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*prefix, sys.executable, *arguments, name],
            cwd=built,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    worker = Worker(process, log_path)
    try:
        yield worker
    finally:
        worker.kill()


@pytest.mark.process
def test_every_module_can_be_imported_with_locked_packages_only(built: Path) -> None:
    environment = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    printed = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        cwd=built,
        env=environment,
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    files, distributions = json.loads(printed)

    assert sorted(files) == sorted(str(path) for path in built.rglob("*.py"))
    optional = {"greenlet"}  # structlog takes it if it is there, as here: the browser tests need it.
    assert {name.lower().replace("_", "-") for name in distributions} - optional <= set(locked())


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_runs_from_the_read_only_tree_without_privileges(
    name: str, built: Path, stack: DeployedStack, tmp_path: Path
) -> None:
    files, port = sorted(built.rglob("*")), str(free_port())
    assert any(path.suffix == ".pyc" for path in files)
    environment = image_environment(stack.worker_environment(), WORKER_HEALTH_PORT=port, WORKER_WAIT_S="1")

    with running(built, name, environment, tmp_path / "worker.log") as worker:
        worker.wait_for("worker.started", worker=name)
        check = [sys.executable, *(word.replace("8080", port) for word in health_check()[1:])]
        subprocess.run(check, check=True, timeout=STOP_TIMEOUT_S)
        assert worker.stop() == 0, worker.output()

    assert sorted(built.rglob("*")) == files


@pytest.mark.parametrize("name", WORKERS)
@pytest.mark.process
def test_a_worker_without_aws_waits_for_it_and_stops_on_sigterm(name: str, built: Path, tmp_path: Path) -> None:
    no_aws = sdk.environment(f"http://127.0.0.1:{free_port()}", base={})
    environment = image_environment(no_aws, WORKER_HEALTH_PORT=str(free_port()))

    with running(built, name, environment, tmp_path / "worker.log") as worker:
        worker.wait_for("aws.unavailable", worker=name)
        assert worker.stop() == 0, worker.output()
        assert "Traceback" not in worker.output()
