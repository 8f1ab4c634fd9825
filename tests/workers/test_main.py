import builtins
import signal
import subprocess
import sys
from typing import Any

import pytest

from workers.__main__ import main

SCRIPT = """
import sys
from workers.__main__ import main
sys.argv[1:] = ["--help"]
try:
    main()
finally:
    print("imported:", "structlog" in sys.modules, "rich" in sys.modules)
    import rich
    print("can be imported:", rich.__name__)
"""


@pytest.mark.process
def test_a_worker_does_not_import_rich_but_a_provider_can() -> None:
    worker = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert worker.returncode == 0, worker.stderr
    assert worker.stdout.endswith("imported: True False\ncan be imported: rich\n")


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """The handlers of signals that are set; the process's own stay as they are."""
    made: dict[int, Any] = {}
    monkeypatch.setattr("signal.signal", made.__setitem__)
    return made


def test_the_named_worker_runs_and_a_signal_before_that_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, handlers: dict[int, Any]
) -> None:
    seen: list[Any] = []

    def run_command() -> int:
        seen.extend(handlers)
        return 3

    monkeypatch.setattr("workers.command.run_command", run_command)
    assert main() == 3
    assert seen == [signal.SIGTERM, signal.SIGINT]
    for number in seen:
        with pytest.raises(SystemExit, match="0"):
            handlers[number](number, None)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("imported", [True, False])
def test_rich_is_hidden_only_while_structlog_is_imported(monkeypatch: pytest.MonkeyPatch, imported: bool) -> None:
    seen: list[Any] = []
    import_module, rich = builtins.__import__, object()

    def importing(name: str, *more: Any) -> Any:
        if name == "structlog":
            seen.append(sys.modules.get("rich", "absent"))
        return import_module(name, *more)

    monkeypatch.setattr("workers.command.run_command", lambda: 0)
    monkeypatch.delitem(sys.modules, "rich", raising=False)
    if imported:
        monkeypatch.setitem(sys.modules, "rich", rich)
    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", importing)
        assert main() == 0
    assert seen[:1] == ([] if imported else [None])
    assert sys.modules.get("rich") is (rich if imported else None)
    assert ("rich" in sys.modules) is imported
