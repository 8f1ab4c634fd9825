"""
deploy/Dockerfile, as far as it can be proven without Docker: what it says, and what it starts.

The install itself is left out here: `make setup` does the same with the same hashes.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.deploy.cloudwatch import of_type
from tests.support import STOP_TIMEOUT_S, DeployedStack, Worker, free_port

FORMS = {"RUN", "CMD", "ENTRYPOINT"}
# What root may do beyond others is taken from it, so that it is kept from writing as others are.
WITHOUT_PRIVILEGES = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def instructions() -> list[tuple[str, str]]:
    """Return each instruction and what follows it on its line, continued ones joined."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    found = [line.partition(" ") for line in lines if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def last_stage() -> dict[str, str]:
    """Return the last stage's instructions; of those that occur twice, the last."""
    steps = instructions()
    start = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
    return dict(steps[start:])


def exec_form(text: str) -> list[str]:
    """Return the words of an instruction in exec form; raises `ValueError` for one that would start a shell."""
    words = json.loads(text)
    assert all(isinstance(each, str) for each in words)
    return list(words)


def copied() -> list[tuple[str, str]]:
    """Return what is copied from the context, and where to."""
    return [
        (source, target)
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from=")
        for source, target in [rest.split()]
    ]


def step(word: str) -> list[str]:
    """Return the one RUN that has `word` in it."""
    (found,) = [exec_form(rest) for name, rest in instructions() if name == "RUN" and word in exec_form(rest)]
    return found


def health_check() -> list[str]:
    return exec_form(last_stage()["HEALTHCHECK"].partition("CMD ")[2])


def test_nothing_is_run_through_a_shell() -> None:
    for name, rest in instructions():
        if name in FORMS:
            assert exec_form(rest), rest


def test_the_workers_get_the_signals_themselves() -> None:
    assert exec_form(last_stage()["ENTRYPOINT"]) == ["python", "-m", "workers"]


def test_it_is_no_root() -> None:
    user, _, group = last_stage()["USER"].partition(":")
    assert (int(user), int(group)) > (0, 0)
    for task in of_type("AWS::ECS::TaskDefinition").values():
        assert task["ContainerDefinitions"][0]["User"] == last_stage()["USER"]


def test_its_base_is_pinned() -> None:
    arguments: dict[str, str] = dict(rest.partition("=")[::2] for name, rest in instructions() if name == "ARG")
    assert re.fullmatch(r"3\.1[1-9]\.[0-9]+-slim-[a-z]+", arguments["PYTHON"])
    assert {rest.partition(" ")[0] for name, rest in instructions() if name == "FROM"} == {"python:${PYTHON}"}


def test_nothing_is_installed_but_what_was_locked() -> None:
    install = step("install")
    assert {"--require-hashes", "--only-binary=:all:"} <= set(install)
    assert install[-2:] == ["--requirement", "/build/requirements.txt"]
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    requirements = re.split(r"(?m)^(?=[a-z])", text.replace("\\\n", " "))
    assert all("--hash=sha256:" in each for each in requirements if each.strip())


def test_what_is_copied_exists_and_nothing_else_is_sent_to_the_builder() -> None:
    sources = [source for source, _ in copied()]
    assert all((ROOT / source).exists() for source in sources)
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rule.removeprefix("!") for rule in rules if rule.startswith("!")) == sorted(sources)


def test_docker_and_ecs_check_its_health_in_the_same_way() -> None:
    for task in of_type("AWS::ECS::TaskDefinition").values():
        (container,) = task["ContainerDefinitions"]
        assert container["HealthCheck"]["Command"] == ["CMD", *health_check()]
        port: Any = next(each["Value"] for each in container["Environment"] if each["Name"] == "WORKER_HEALTH_PORT")
        assert f":{port}/" in health_check()[-1]
        assert f"WORKER_HEALTH_PORT={port}" in last_stage()["ENV"].split()


def test_an_image_of_a_clone_that_only_its_owner_can_read_can_be_read(tmp_path: Path) -> None:
    source = tmp_path / "app" / "workers" / "module.py"
    source.parent.mkdir(parents=True)
    source.touch(mode=0o600)
    source.parent.chmod(0o700)
    names = [exec_form(rest) for name, rest in instructions() if name == "RUN"]
    assert names.index(step("chmod")) < names.index(step("compileall")), "bytecode gets the mode of its source"

    subprocess.run([each.replace("/app", str(tmp_path / "app")) for each in step("chmod")], check=True)

    assert stat.S_IMODE(source.stat().st_mode) == 0o644
    assert stat.S_IMODE(source.parent.stat().st_mode) == 0o755


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Path]:
    """What the image has in `/app`, made as its steps make it, and read-only."""
    application = tmp_path / "root" / "app"
    for source, target in copied():
        if target.startswith("/app"):
            shutil.copytree(
                ROOT / source, tmp_path / "root" / target.lstrip("/"), ignore=shutil.ignore_patterns("__pycache__")
            )
    _, *compiling = step("compileall")
    places = [str(application) if each == "/app" else each for each in compiling if each != "/venv"]
    subprocess.run([sys.executable, *places], check=True, timeout=60)
    writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    everything = [application, *application.rglob("*")]
    for path in everything:
        path.chmod(path.stat().st_mode & ~writable)
    yield application
    for path in everything:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_the_entry_point_runs_from_a_read_only_tree_without_privileges(
    built: Path, stack: DeployedStack, tmp_path: Path
) -> None:
    files, port = sorted(built.rglob("*")), str(free_port())
    assert any(path.suffix == ".pyc" for path in files)
    variables = dict(each.split("=", 1) for each in last_stage()["ENV"].split())
    environment = stack.worker_environment() | variables
    environment |= {"PATH": os.defpath, "WORKER_HEALTH_PORT": port, "WORKER_WAIT_S": "1"}
    python, *arguments = exec_form(last_stage()["ENTRYPOINT"])
    assert python == health_check()[0] == "python"
    prefix = WITHOUT_PRIVILEGES if os.geteuid() == 0 else []
    assert subprocess.run([*prefix, "touch", built / "new"], check=False, capture_output=True).returncode == 1
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [*prefix, sys.executable, *arguments, "fulfillment"],
            cwd=built,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    worker = Worker(process, tmp_path / "worker.log")
    try:
        worker.wait_for("worker.started", worker="fulfillment")
        check = [sys.executable, *(each.replace("8080", port) for each in health_check()[1:])]
        subprocess.run(check, check=True, timeout=STOP_TIMEOUT_S)
        assert worker.stop() == 0, worker.output()
    finally:
        worker.kill()
    assert sorted(built.rglob("*")) == files
