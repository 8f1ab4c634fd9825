"""Drives the stack that a console shows: submits orders, holds the workflow, fills dead-letter queues."""

import functools
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.aws import ROOT
from tests.integration.command_line import CARD
from tests.integration.pipeline import Pipeline, wait_until

SAMPLES = ROOT / "statemachine" / "samples"
FUNCTION = ROOT / "lambda" / "verify_cc_and_price.py"
# Before the real function, one that waits while a file exists.
HELD = """
import os
import time

_verify = handler

def handler(event, context):
    while os.path.exists({path!r}):
        time.sleep(0.05)
    return _verify(event, context)
"""


def sample(order_id: str) -> dict[str, str]:
    order: dict[str, str] = json.loads((SAMPLES / f"{order_id}.json").read_text(encoding="utf-8"))
    return order


def order(order_id: str, **fields: str) -> dict[str, str]:
    return {"OrderId": order_id, "Name": "Ada Lovelace", "ItemName": "Bicycle", "Price": "80", "CC": CARD} | fields


@dataclass(frozen=True)
class Day:
    """What happens to the stack while a person looks at it."""

    pipeline: Pipeline

    def submit(self, given: Mapping[str, object], name: str | None = None) -> str:
        """Start an execution with an order, and return its name."""
        name = name or f"of-{given['OrderId']}"
        self.pipeline.client("stepfunctions").start_execution(
            stateMachineArn=self.pipeline.stack.state_machine_arn, name=name, input=json.dumps(given)
        )
        return name

    def replace_function(self, source: str) -> None:
        """Replace the code of the workflow's verification."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(FUNCTION.name, source)
        self.pipeline.client("lambda").update_function_code(
            FunctionName=self.pipeline.stack.outputs["VerifyCCAndPriceName"], ZipFile=archive.getvalue()
        )

    def hold(self, file: Path) -> None:
        """Let each verification wait while *file* exists."""
        file.touch()
        self.replace_function(FUNCTION.read_text(encoding="utf-8") + HELD.format(path=str(file)))

    def restore(self) -> None:
        """Use the real verification again."""
        self.replace_function(FUNCTION.read_text(encoding="utf-8"))

    def send_dead_letter(self, body: object, **attributes: str) -> str:
        """Put a message on the dead-letter queue of the fulfillment worker, and return its id."""
        text = body if isinstance(body, str) else json.dumps(body)
        return self.pipeline._send(self.pipeline.stack.order_fulfillment_dlq_url, text, attributes)

    def wait_for_cases(self, *case_ids: str) -> None:
        """Wait until there is an open case for each."""
        for case_id in case_ids:
            wait_until(functools.partial(self._is_open, case_id))

    def _is_open(self, case_id: str) -> bool:
        return bool(self.case(case_id).get("State") == "OPEN")

    def case(self, case_id: str) -> dict[str, Any]:
        return self.pipeline.case(case_id) or {}
