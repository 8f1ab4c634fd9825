"""Starts executions of the order workflow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from workers.aws.errors import ask, error_code
from workers.domain.ids import execution_arn

if TYPE_CHECKING:
    from types_aiobotocore_stepfunctions import SFNClient

ALREADY_EXISTS = "ExecutionAlreadyExists"
# Codes for a problem with one execution: with its name or its input.
START_FAULTS = frozenset({ALREADY_EXISTS, "InvalidExecutionInput", "InvalidName", "ValidationException"})


@dataclass(frozen=True, slots=True)
class Executions:
    """Executions of one state machine."""

    stepfunctions: "SFNClient"
    state_machine_arn: str

    def arn(self, name: str) -> str:
        """Return the ARN of the execution *name*, whether it was started or not."""
        return execution_arn(self.state_machine_arn, name)

    async def start(self, name: str, order: Mapping[str, str]) -> str:
        """Start the execution *name* with *order* as its input, unless it exists already; return its ARN."""
        try:
            answer = await ask(
                self.stepfunctions.start_execution,
                START_FAULTS,
                stateMachineArn=self.state_machine_arn,
                name=name,
                input=json.dumps(dict(order)),
            )
        except ClientError as error:
            if error_code(error) != ALREADY_EXISTS:
                raise
            return self.arn(name)
        return answer["executionArn"]
