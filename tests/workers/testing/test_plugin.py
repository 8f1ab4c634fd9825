"""What each fixture of the plugin is, and what a person reads while the stack starts. No stack is started."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workers.testing.fakes import STACK, FakeClient, use
from workers.testing import plugin
from workers.testing import testbed as beds
from workers.testing.errors import SetupError
from workers.testing.queues import Queues
from workers.testing.running import Running

PARTS: Any = SimpleNamespace(
    running=SimpleNamespace(start="start", wait_for="wait"),
    queues="queues",
    orders=SimpleNamespace(get="get", get_case="get case"),
)


def function_of(name: str, scope: str) -> Callable[..., Any]:
    """Return the function of a fixture, which must have this scope."""
    fixture = getattr(plugin, name)
    assert fixture._fixture_function_marker.scope == scope
    function: Callable[..., Any] = fixture._get_wrapped_function()
    return function


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("start_worker", PARTS.running.start),
        ("wait_for", PARTS.running.wait_for),
        ("queues", PARTS.queues),
        ("orders", PARTS.orders),
        ("order", PARTS.orders.get),
        ("case", PARTS.orders.get_case),
    ],
)
def test_a_fixture_is_a_part_of_the_testbed(name: str, part: object) -> None:
    assert function_of(name, "function")(PARTS) is part


def test_each_test_has_a_testbed_with_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []

    @contextlib.contextmanager
    def made(stack: object, directory: Callable[[], object]) -> Iterator[Any]:
        steps.append((stack, directory()))
        yield PARTS
        steps.append("ended")

    monkeypatch.setattr("workers.testing.testbed.testbed", made)
    folders = SimpleNamespace(mktemp=lambda name: f"a folder {name}")
    found = function_of("workers_testbed", "function")(STACK, folders)
    assert next(found) is PARTS
    assert steps == [(STACK, "a folder workers")]
    assert list(found) == []
    assert steps[1:] == ["ended"]


def test_workers_are_stopped_before_their_queues_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    use(monkeypatch, "orders", dynamodb=FakeClient(), stepfunctions=FakeClient())
    use(monkeypatch, "queues", sqs=FakeClient())
    monkeypatch.setattr(Running, "stop", lambda _: steps.append("stop"))
    monkeypatch.setattr(Queues, "delete", lambda _: steps.append("delete"))
    with beds.testbed(STACK, Path.cwd) as made:
        assert isinstance(made, beds.Testbed)
        assert steps == []
    assert steps == ["stop", "delete"]


@pytest.mark.parametrize("captures", [True, False])
def test_a_session_has_one_stack_and_says_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, captures: bool
) -> None:
    steps: list[str] = []

    @contextlib.contextmanager
    def session_stack(note: Callable[[str], None]) -> Iterator[Any]:
        note("Waiting")
        yield STACK
        steps.append("ended")

    @contextlib.contextmanager
    def shown() -> Iterator[None]:
        steps.append("shown")
        yield

    capture = SimpleNamespace(global_and_fixture_disabled=shown) if captures else None
    plugins = SimpleNamespace(getplugin=lambda name: capture if name == "capturemanager" else pytest.fail(name))
    monkeypatch.setattr("workers.testing.session.session_stack", session_stack)
    request = SimpleNamespace(config=SimpleNamespace(pluginmanager=plugins))
    found = function_of("workers_stack", "session")(request)
    assert next(found) is STACK
    assert capsys.readouterr() == ("", "\nworkers.testing: Waiting\n")
    assert list(found) == []
    assert steps == [*(["shown"] if captures else []), "ended"]


def test_a_stack_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise SetupError("PyYAML is missing")

    monkeypatch.setattr("workers.testing.session.session_stack", refuse)
    request = SimpleNamespace(config=SimpleNamespace(pluginmanager=SimpleNamespace(getplugin=lambda _: None)))
    with pytest.raises(pytest.fail.Exception) as raised:
        next(function_of("workers_stack", "session")(request))
    assert (raised.value.msg, raised.value.pytrace) == ("workers.testing: PyYAML is missing", False)
