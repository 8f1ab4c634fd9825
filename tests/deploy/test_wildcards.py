"""Every `*` in what a template allows has its reason beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.stacks import template


def last_line(node: yaml.Node) -> int:
    """Return the line of a node's last word. The node's own end is after the comments that follow it."""
    if isinstance(node, yaml.ScalarNode):
        return node.end_mark.line
    parts = [child for part in node.value for child in (part if isinstance(part, tuple) else (part,))]
    return max(map(last_line, parts))


def statements(node: yaml.Node | None) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Yield every Allow statement, with its first line and the line after its last, counted from 0."""
    if isinstance(node, yaml.MappingNode):
        keys = {key.value: value for key, value in node.value}
        if isinstance(keys.get("Effect"), yaml.ScalarNode) and keys["Effect"].value == "Allow":
            texts = {
                name: [part.value for part in (value.value if isinstance(value, yaml.SequenceNode) else [value])]
                for name, value in keys.items()
            }
            yield texts, node.start_mark.line, last_line(node) + 1
        for _, value in node.value:
            yield from statements(value)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from statements(child)


@pytest.mark.parametrize(
    "path",
    [template.PIPELINE, template.WORKERS, template.WORKERS.with_name("own-worker.yaml")],
    ids=lambda path: path.name,
)
def test_every_wildcard_in_a_grant_has_its_reason_beside_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines, wild, unexplained = text.splitlines(), 0, []
    for statement, first, end in statements(yaml.compose(text, Loader=template.Loader)):
        values = [value for name in ("Action", "Resource", "Principal") for value in statement.get(name, [])]
        if any(isinstance(value, str) and "*" in value for value in values):
            wild += 1
            if not any("#" in line for line in lines[first - 1 : end]):
                unexplained.append(f"{path.name}:{first + 1}")

    assert wild, "the template has wildcards"
    assert unexplained == []
