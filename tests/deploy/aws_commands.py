"""`aws ...` commands as on our pages: read them with the SDK's models, as the AWS CLI does, and run them."""

import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.validate import ParamValidator

_OF_THE_CLI = {"query", "output", "region", "max-items"}  # Options that are not the operation's. Each has a value.
_ONLY_IN_THE_CLI = "aws ecr get-login-password"
_SESSION = botocore.session.get_session()


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `aws SERVICE OPERATION --option value`. If it waits, `waiter` is the name of what it waits for."""

    text: str
    service: str
    operation: OperationModel
    arguments: Mapping[str, Any]
    waiter: str | None = None

    def run(self, client: Callable[[str], Any]) -> Any:
        """Run it with the client of its service."""
        if self.waiter:
            return client(self.service).get_waiter(self.waiter).wait(**self.arguments, WaiterConfig={"Delay": 1})
        return getattr(client(self.service), xform_name(self.operation.name))(**self.arguments)


def commands(block: str) -> Iterator[Command]:
    """Yield the commands in a block of shell, also those in `NAME=$(...)`. Raises `AssertionError` for a wrong one."""
    for line in block.replace("\\\n", " ").splitlines():
        found = re.match(r"\s*(?:\w+=\$\()?(aws [a-z].*?)\)?$", line)
        if found and not found[1].startswith(_ONLY_IN_THE_CLI):
            words = itertools.takewhile(lambda word: word not in {"|", ">", "&&"}, shlex.split(found[1], comments=True))
            yield _command(found[1], list(words))


def _command(text: str, words: list[str]) -> Command:
    _, service, name, *rest = words
    model = _SESSION.get_service_model(service)
    waiter = None
    if name == "wait":
        waiters = _SESSION.get_waiter_model(service)
        found = {xform_name(each, "-"): each for each in waiters.waiter_names}
        waiter, name = xform_name(found[rest[0]]), xform_name(waiters.get_waiter(found[rest[0]]).operation, "-")
        rest = rest[1:]
    operations = {xform_name(each, "-"): each for each in model.operation_names}
    assert name in operations, f"{text}: {service} has no {name}"
    operation = model.operation_model(operations[name])
    arguments = dict(_arguments(text, operation, rest))
    # A variable of the shell may stand for a long text.
    values = {
        name: f"{value:x<40}" if "$" in str(value) and isinstance(value, str) else value
        for name, value in arguments.items()
    }
    report = ParamValidator().validate(values, _members(operation))
    assert not report.has_errors(), f"{text}: {report.generate_report()}"
    return Command(text, service, operation, arguments, waiter)


def _arguments(text: str, operation: OperationModel, words: list[str]) -> Iterator[tuple[str, Any]]:
    members = {xform_name(name, "-"): (name, shape) for name, shape in _members(operation).members.items()}
    while words:
        option, *words = words
        assert option.startswith("--"), f"{text}: {option} is not an option"
        values = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
        words = words[len(values) :]
        switch = option.removeprefix("--").removeprefix("no-")
        if option[2:] in _OF_THE_CLI:
            continue
        assert option[2:] in members or switch in members, f"{text}: {operation.name} has no {option}"
        name, shape = members.get(option[2:]) or members[switch]
        if shape.type_name == "boolean" and not values:
            yield name, not option.startswith("--no-")
        elif isinstance(shape, ListShape):
            yield name, [_value(shape.member, value) for value in values]
        else:
            (value,) = values
            yield name, _value(shape, value)


def _members(operation: OperationModel) -> StructureShape:
    assert operation.input_shape is not None
    return operation.input_shape


def _value(shape: Shape, text: str) -> Any:
    """Read a value: a scalar, JSON, or the CLI's short form `name=value,name=value`."""
    match shape.type_name:
        case "boolean":
            return text == "true"
        case "integer" | "long":
            return int(text)
        case "structure" | "map" if text.startswith("{"):
            return json.loads(text)
        case "structure":
            assert isinstance(shape, StructureShape)
            pairs = [pair.split("=", 1) for pair in text.split(",")]
            return {name: _value(shape.members[name], value) for name, value in pairs}
        case _:
            return text
