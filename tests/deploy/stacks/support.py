"""What the tests of the stacks share: edited templates, and an AWS that answers some calls differently."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from deploy.aws import Aws
from deploy.stacks import template

Resources = dict[str, Any]


def edited(directory: Path, edit: Callable[[Resources], object]) -> Path:
    """Write the pipeline's template into `directory`, after `edit` has changed its resources."""
    source = template.load(template.PIPELINE)
    files = {
        "VerifyCCAndPrice": "Code",
        "OrderFulfillmentStateMachine": "DefinitionS3Location",
        "StuckOrderSweep": "DefinitionS3Location",
        "BulkOrderIntake": "DefinitionS3Location",
    }
    for name, path in files.items():
        properties = source["Resources"][name]["Properties"]
        properties[path] = str(template.PIPELINE.parent / properties[path])
    edit(source["Resources"])
    file = directory / "template.json"
    file.write_text(json.dumps(source), encoding="utf-8")
    return file


def with_cloudformation(aws: Aws, **methods: Callable[..., Any]) -> Aws:
    """Return the same AWS, but these methods of its CloudFormation client are replaced."""
    return replace(aws, cloudformation=cast("Any", _CloudFormation(aws.cloudformation, methods)))


class _CloudFormation:
    def __init__(self, client: Any, methods: dict[str, Callable[..., Any]]) -> None:
        self._client = client
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._client, name)
