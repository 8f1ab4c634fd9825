"""Who may import what: the consumer could be lifted out as a library, and AWS stays at the edge."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import workers

ROOT = Path(next(iter(workers.__path__)))
AWS_LIBRARIES = {"aioboto3", "aiobotocore", "boto3", "botocore"}
AT_THE_EDGE = ("workers.aws", "workers.cli", "workers.connections")


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield every module *path* imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{each.name}" for each in names)
            case ast.ImportFrom():
                pytest.fail(f"{path}: a relative import")


def reachable(start: str) -> set[str]:
    """Return the modules of ours that *start* imports, directly or not."""
    known, found, waiting = modules(), set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found.add(name)
            waiting += imported(known[name])
    return found


def test_only_the_edge_imports_aws_libraries() -> None:
    offenders = [
        name
        for name, path in modules().items()
        if not name.startswith(AT_THE_EDGE) and any(each.split(".")[0] in AWS_LIBRARIES for each in imported(path))
    ]
    assert offenders == []


def test_the_edge_is_where_aws_libraries_are_imported() -> None:
    assert "botocore" in {each.split(".")[0] for each in imported(modules()["workers.aws.errors"])}
    assert "aioboto3" in {each.split(".")[0] for each in imported(modules()["workers.connections"])}


def test_the_consumer_imports_nothing_but_errors_metrics_and_backoff() -> None:
    consumer = [name for name in modules() if name.startswith("workers.consumer")]
    assert {"poller", "acknowledger", "visibility", "gate", "in_flight"} <= {
        name.rpartition(".")[2] for name in consumer
    }
    for name in consumer:
        others = {each for each in reachable(name) if not each.startswith("workers.consumer")}
        assert others <= {"workers", "workers.errors", "workers.metrics", "workers.backoff"}, name


def test_the_domain_knows_only_itself() -> None:
    for name in modules():
        if name.startswith("workers.domain"):
            assert {each for each in reachable(name) if not each.startswith("workers.domain")} <= {
                "workers",
                "workers.errors",
            }


def test_handlers_know_no_aws() -> None:
    for name in modules():
        if name.startswith(("workers.fulfillment", "workers.escalation")):
            assert not [each for each in reachable(name) if each.startswith("workers.aws")]
