"""Which module may import which: the consumer could become a library, and only the edge knows AWS."""

import ast
import functools
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import deploy
import workers

AWS_LIBRARIES = {"aioboto3", "aiobotocore", "boto3", "botocore"}
AT_THE_EDGE = ("workers.aws", "workers.connections", "workers.operations.sdk_errors", "workers.testing.sdk")
# The order of rooms: a module imports only from its own room and from rooms in earlier rows.
ROOMS = [
    {"streams", "tallies", "errors", "message"},
    {
        "workers",
        "backoff",
        "clock",
        "http_values",
        "log_writers",
        "loop_watch",
        "opened",
        "queue_address",
        "threads",
    },
    {"log_output", "service_calls"},
    {"metrics"},
    {"domain", "consumer", "monitoring"},
    {"bodies", "log_text"},
    {"log_values"},
    {"log_calls"},
    {"kinds"},
    {"contracts", "dead_letters", "logs", "proxies", "request_log", "settings"},
    {"ports", "tracing", "trials"},
    {"fulfillment", "escalation", "own"},
    {"aws"},
    {"connections", "operations", "task_protection"},
    {"start", "cli", "console"},
    {"wiring"},
    {"runner"},
    {"command"},
    {"__main__", "testing"},
]


@functools.cache
def modules(package: str = "workers") -> dict[str, Path]:
    """Return the modules of `workers` or `deploy`, each with its file."""
    root = Path(next(iter({"workers": workers, "deploy": deploy}[package].__path__)))
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imported(path: Path) -> Sequence[str]:
    """Return every module that *path* imports, at the top or inside functions."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                pytest.fail(f"{path}: a relative import")


def reachable(start: str) -> set[str]:
    """Return the modules of `workers` that *start* imports, directly or not."""
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
        if not name.startswith(AT_THE_EDGE)
        and any(library.split(".")[0] in AWS_LIBRARIES for library in imported(path))
    ]
    assert offenders == []


def test_the_edge_imports_aws_libraries() -> None:
    assert "botocore" in {library.split(".")[0] for library in imported(modules()["workers.aws.errors"])}
    assert "aioboto3" in {library.split(".")[0] for library in imported(modules()["workers.connections"])}


def test_the_consumer_imports_nothing_but_errors_metrics_and_backoff() -> None:
    consumer = [name for name in modules() if name.startswith("workers.consumer")]
    assert {"poller", "acknowledger", "visibility", "gate", "in_flight"} <= {
        name.rpartition(".")[2] for name in consumer
    }
    for name in consumer:
        others = {module for module in reachable(name) if not module.startswith("workers.consumer")}
        metrics = {
            "workers.metrics",
            "workers.tallies",
            "workers.service_calls",
            "workers.domain",
            "workers.domain.cards",
        }
        assert others <= {"workers", "workers.backoff", "workers.errors", "workers.message", *metrics}, name


def test_the_domain_imports_only_itself_errors_and_clock() -> None:
    for name in modules():
        if name.startswith("workers.domain"):
            others = {module for module in reachable(name) if not module.startswith("workers.domain")}
            assert others <= {"workers", "workers.clock", "workers.errors", "workers.message"}, name


def test_handlers_do_not_import_aws() -> None:
    for name in modules():
        if name.startswith(("workers.fulfillment", "workers.escalation")):
            assert not [module for module in reachable(name) if module.startswith("workers.aws")]


def test_the_command_line_imports_no_aws() -> None:
    for name, path in modules().items():
        if name.startswith("workers.cli"):
            wrong = {library for library in imported(path) if library.split(".")[0] in AWS_LIBRARIES}
            assert wrong | {module for module in imported(path) if module.startswith("workers.aws")} == set(), name


def test_operations_import_no_terminal() -> None:
    for name, path in modules().items():
        if name.startswith("workers.operations"):
            assert {module.split(".")[0] for module in imported(path)} & {"click", "rich"} == set(), name
            assert not [module for module in reachable(name) if module.startswith("workers.cli")], name


def room(module: str) -> str:
    """Return `domain` for `workers.domain.cards`."""
    return module.removeprefix("workers.").split(".")[0]


def test_no_module_imports_from_a_later_room() -> None:
    rows = {name: row for row, names in enumerate(ROOMS) for name in names}
    known = modules()
    wrong = [
        f"{module} imports {other}"
        for module, path in known.items()
        for other in known.keys() & set(imported(path))
        if room(other) != room(module) and rows[room(other)] >= rows[room(module)]
    ]
    assert wrong == []


def test_there_is_no_import_cycle() -> None:
    known = modules("workers") | modules("deploy")
    TopologicalSorter({name: known.keys() & set(imported(path)) for name, path in known.items()}).prepare()


def test_operations_run_in_any_process() -> None:
    """A web page can use them too: they neither touch standard streams nor start an event loop."""
    for name, path in modules().items():
        if name.startswith("workers.operations"):
            assert "sys" not in set(imported(path)), name
            assert "asyncio.run(" not in path.read_text(encoding="utf-8"), name


def test_the_command_line_starts_its_event_loop_in_one_place() -> None:
    starting = [
        name
        for name, path in modules().items()
        if name.startswith("workers.cli") and "asyncio.run(" in path.read_text(encoding="utf-8")
    ]
    assert starting == ["workers.cli.running"]
