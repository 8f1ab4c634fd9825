import itertools
import sys
from types import SimpleNamespace
from typing import Any

import jsonata.timebox
import pytest
from jsonata import Jsonata

from deploy.local.emulator import evaluate_without_limit, extend


def test_an_expression_of_a_state_machine_may_wait_for_others_as_long_as_it_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = itertools.count(step=2)  # Each look at the clock is two seconds later.
    monkeypatch.setattr(jsonata.timebox, "time", SimpleNamespace(time=lambda: next(seconds)))

    def evaluate(language: Any) -> object:
        return language.jsonata("$count([1, 2]) + 1", timeout=1000).evaluate(None)

    with pytest.raises(Exception, match="Evaluation timeout after 1000 milliseconds"):
        evaluate(Jsonata)

    class Unlimited(Jsonata):  # type: ignore[misc]
        pass

    evaluate_without_limit(Unlimited)
    assert evaluate(Unlimited) == 3


class ExecutionError(Exception):
    """Stands for ministack's error of an execution."""


class Emulator:
    """Stands for ministack. `put`: the arguments of each request to S3, which answers *status*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.status = 200
        self.put: list[tuple[Any, ...]] = []
        self.items: Any = [1]
        self.stepfunctions: Any = SimpleNamespace(
            _dispatch_aws_sdk_rest_xml=lambda *asked: asked, _read_map_items=self.read, _ExecutionError=ExecutionError
        )
        app = SimpleNamespace(call_service_handler_sync=self.call, SERVICE_HANDLERS={"s3": "the handler of S3"})
        services = SimpleNamespace(stepfunctions=self.stepfunctions)
        modules = {"ministack": SimpleNamespace(services=services, app=app), "ministack.services": services}
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def read(self, *_: object) -> Any:
        if isinstance(self.items, Exception):
            raise self.items
        return self.items

    def call(self, *arguments: Any) -> tuple[int, dict[str, str], bytes]:
        self.put.append(arguments)
        return self.status, {}, b""


def test_a_state_can_write_an_object_and_a_file_that_cannot_be_read_fails_its_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator, languages = Emulator(monkeypatch), list[object]()
    monkeypatch.setattr("deploy.local.emulator.evaluate_without_limit", languages.append)
    extend()
    assert languages == [Jsonata]

    dispatch = emulator.stepfunctions._dispatch_aws_sdk_rest_xml
    assert dispatch("service", "s3", "getObject", {}) == ("service", "s3", "getObject", {})
    assert emulator.put == []
    asked = {"Bucket": "b", "Key": "a/ü.json", "Body": {"x": 1}, "ContentType": "application/json"}
    emulator.status = 399
    assert dispatch("service", "s3", "putObject", asked) == {}
    headers = {"content-length": "8", "content-type": "application/json"}
    assert emulator.put == [("the handler of S3", "PUT", "/b/a/%C3%BC.json", headers, b'{"x": 1}', {})]
    emulator.status = 400
    with pytest.raises(ExecutionError) as raised:
        dispatch("service", "s3", "putObject", asked)
    assert raised.value.args == ("S3.S3Exception", "S3 answered 400")

    assert emulator.stepfunctions._read_map_items("state") == [1]
    for emulator.items in (KeyError("no file"), ValueError("no JSON")):
        with pytest.raises(ExecutionError) as raised:
            emulator.stepfunctions._read_map_items("state")
        assert raised.value.args == ("States.ItemReaderFailed", "The file cannot be read")
