"""
CloudFormation templates as data: read them, check parameters, find table names.

Short forms (`!Sub`, `!GetAtt`, ...) become long ones, so that a template can be edited and sent as JSON.
"""

import functools
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from deploy.errors import DeployError

PIPELINE = Path(__file__).parents[1] / "pipeline.yaml"
WORKERS = Path(__file__).parents[1] / "workers.yaml"
TABLE_TYPE = "AWS::DynamoDB::Table"
QUEUE_TYPE = "AWS::SQS::Queue"
ROLE_TYPE = "AWS::IAM::Role"
DASHBOARD_TYPE = "AWS::CloudWatch::Dashboard"
STATE_MACHINE_TYPE = "AWS::StepFunctions::StateMachine"
# What the ids of these types begin with. CloudFormation allows no pattern for them, and looks them up only after the
# pipeline's stack is deployed.
_IDS = {"List<AWS::EC2::Subnet::Id>": "subnet-", "List<AWS::EC2::SecurityGroup::Id>": "sg-"}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # As it also stands in expressions and environment variables.
_WITHOUT_PREFIX = frozenset({"Ref", "Condition"})
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


if yaml.__with_libyaml__:  # Else it takes ten times as long.
    from yaml import CSafeLoader as SafeLoader
else:
    from yaml import SafeLoader  # type: ignore[assignment]


class Loader(SafeLoader):
    """YAML as CloudFormation reads it: `!Sub x` is `Fn::Sub: x`, and a policy's `2012-10-17` is not a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_intrinsic(self: Self, suffix: str, node: yaml.Node) -> dict[str, Any]:
        value: Any
        if isinstance(node, yaml.ScalarNode):
            value = self.construct_scalar(node)
            if suffix == "GetAtt":
                value = value.split(".", 1)
        elif isinstance(node, yaml.SequenceNode):
            value = self.construct_sequence(node, deep=True)
        else:
            assert isinstance(node, yaml.MappingNode)  # noqa: S101 - YAML has three kinds of nodes
            value = self.construct_mapping(node, deep=True)
        return {suffix if suffix in _WITHOUT_PREFIX else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", Loader.construct_intrinsic)


def load(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON template. Raises `DeployError` if it is missing or malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DeployError(f"Cannot read the template {path}: {error.strerror}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> dict[str, Any]:
    """Parse a YAML or JSON template. Raises `DeployError` if it is malformed; the error calls the template `name`."""
    template: dict[str, Any] = json.loads(_as_json(text, name))
    return template


@functools.lru_cache(maxsize=8)
def _as_json(text: str, name: str) -> str:
    """Return a template as JSON. A deployment reads the same template several times, and JSON is read much faster."""
    try:
        template = yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise DeployError(f"The template {name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise DeployError(f"The template {name} has no Resources")
    return body(template)


def body(template: Mapping[str, Any]) -> str:
    """Return the template as JSON. Equal templates give equal texts."""
    return json.dumps(template, separators=(",", ":"))


def check_parameters(template: Mapping[str, Any], parameters: Mapping[str, str], kept: Collection[str] = ()) -> None:
    """
    Check `parameters` against the template's own constraints. Parameters in `kept` already have a value.

    Raises `DeployError` for the first problem.
    """
    declared = template.get("Parameters", {})
    for name, value in parameters.items():
        if name not in declared:
            raise DeployError(f"The template has no parameter {name}")
        rule = declared[name]
        if problem := _problem(rule, value):
            raise DeployError(f"{name} {value!r}: {problem}")
    missing = [name for name, rule in declared.items() if "Default" not in rule and name not in {*parameters, *kept}]
    if missing:
        raise DeployError(f"The template needs a value for {', '.join(missing)}: --parameter {missing[0]}=...")


def _problem(rule: Mapping[str, Any], value: str) -> str | None:
    problem = None
    kind = rule.get("Type", "")
    listed = kind == "CommaDelimitedList" or kind in _IDS  # A pattern is for each element, without spaces around it.
    elements = [element.strip() for element in value.split(",")] if listed else [value]
    if "AllowedPattern" in rule and not all(re.fullmatch(rule["AllowedPattern"], element) for element in elements):
        problem = rule.get("ConstraintDescription") or f"must match {rule['AllowedPattern']}"
    elif len(value) > int(rule.get("MaxLength", len(value))):
        problem = f"must have at most {rule['MaxLength']} characters"
    elif "MinLength" in rule and len(value) < int(rule["MinLength"]):
        problem = f"must have at least {rule['MinLength']} characters"
    elif "AllowedValues" in rule and value not in rule["AllowedValues"]:
        problem = f"must be one of {', '.join(map(str, rule['AllowedValues']))}"
    elif kind in _IDS and not all(re.fullmatch(rf"{_IDS[kind]}[0-9A-Za-z]+", element) for element in elements):
        problem = f"must be ids that begin with {_IDS[kind]}, separated by commas"
    elif kind == "Number":
        least, most = float(rule.get("MinValue", "-inf")), float(rule.get("MaxValue", "inf"))
        within = _NUMBER.fullmatch(value) and least <= float(value) <= most
        problem = None if within else f"must be a number from {least:g} to {most:g}"
    return problem


def definition_substitutions(path: Path, definition: Path) -> Mapping[str, Any] | None:
    """
    Return the template's substitutions for this definition; `None` if the template does not use the definition.

    Texts of a mapping, and the defaults of numbers, are looked up.
    """
    source = load(path)
    for resource in source["Resources"].values():
        properties = resource.get("Properties", {})
        location = properties.get("DefinitionS3Location")
        if isinstance(location, str) and (path.parent / location).resolve() == definition.resolve():
            given: Mapping[str, Any] = properties.get("DefinitionSubstitutions", {})
            return {name: _looked_up(value, source) for name, value in given.items()}
    return None


def _looked_up(value: Any, source: Mapping[str, Any]) -> Any:
    match value:
        case {"Fn::FindInMap": [str(mapping), str(key), str(name)]}:
            return source["Mappings"][mapping][key][name]
        case {"Ref": str(name)} if (rule := source.get("Parameters", {}).get(name, {})).get("Type") == "Number":
            return str(rule.get("Default", rule.get("MinValue", 0)))
        case _:
            return value


def with_texts(definition: str, substitutions: Mapping[str, Any]) -> str:
    """Put texts into a definition as CloudFormation does. Values that only AWS knows (`!Ref`) remain `${name}`."""
    for name, value in substitutions.items():
        if isinstance(value, str):
            definition = definition.replace(f"${{{name}}}", value)
    return definition


def tables(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the tables that remain when the stack is deleted: logical id to table name."""
    return {
        logical_id: name
        for logical_id, name in names(template, parameters, TABLE_TYPE, "TableName").items()
        if template["Resources"][logical_id].get("DeletionPolicy", "Delete") != "Delete"
    }


def names(template: Mapping[str, Any], parameters: Mapping[str, str], kind: str, name_property: str) -> dict[str, str]:
    """Return the names of the resources of one type: logical id to name. Left out: those that AWS names itself."""
    return {
        logical_id: _resolve(resource["Properties"][name_property], template, parameters)
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == kind and name_property in resource.get("Properties", {})
    }


def _resolve(value: Any, template: Mapping[str, Any], parameters: Mapping[str, str]) -> str:
    """Resolve a name made of text and parameters: `OrderTable`, `!Ref TableName`, `!Sub "${NamePrefix}OrderTable"`."""
    known = {name: str(rule.get("Default", "")) for name, rule in template.get("Parameters", {}).items()} | {
        **parameters
    }
    match value:
        case str():
            return value
        case {"Ref": str(name)} if name in known:
            return known[name]
        case {"Fn::Sub": str(text)} if all(name in known for name in re.findall(r"\$\{([^}]+)\}", text)):
            return re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], text)
        case _:
            raise DeployError(f"A name must consist of text and parameters only: {json.dumps(value)}")
