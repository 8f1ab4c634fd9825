"""The stack of a test session: names of its resources, clients, variables for workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.testing.sdk import Endpoint

# A bundle of one certificate. An AWS on this machine uses no TLS, but each client of the SDK reads its bundle, and
# reading the SDK's own six times, with 150 certificates, is half of the CPU time of a worker's start.
CA_BUNDLE = {"AWS_CA_BUNDLE": str(Path(__file__).with_name("no_ca.pem"))}


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of deploy/pipeline.yaml on a local AWS. `outputs` are the template's outputs, by name."""

    local_aws: Endpoint
    name_prefix: str
    outputs: Mapping[str, str]

    @property
    def order_table(self) -> str:
        return self.outputs["OrderTableName"]

    @property
    def escalation_table(self) -> str:
        return self.outputs["EscalationTableName"]

    @property
    def order_fulfillment_queue_url(self) -> str:
        return self.outputs["OrderFulfillmentQueueUrl"]

    @property
    def escalation_queue_url(self) -> str:
        return self.outputs["EscalationQueueUrl"]

    @property
    def order_fulfillment_dlq_url(self) -> str:
        return self.outputs["OrderFulfillmentDLQUrl"]

    @property
    def escalation_dlq_url(self) -> str:
        return self.outputs["EscalationDLQUrl"]

    @property
    def state_machine_arn(self) -> str:
        return self.outputs["StateMachineArn"]

    def client(self, service: str) -> Any:
        """Build a boto3 client for the AWS of this stack, such as `client("sqs")`."""
        return self.local_aws.client(service)

    def worker_environment(self) -> dict[str, str]:
        """Return this process's environment with what a worker needs for this stack: access to AWS, and names."""
        bundle = {} if self.local_aws.endpoint.startswith("https:") else CA_BUNDLE
        return self.local_aws.environment | bundle | variables(self.outputs)


def variables(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell workers, tests and `orders` the names of a stack's resources."""
    return {
        "ORDER_TABLE": outputs["OrderTableName"],
        "ESCALATION_TABLE": outputs["EscalationTableName"],
        "ORDER_FULFILLMENT_QUEUE": outputs["OrderFulfillmentQueueName"],
        "ESCALATION_QUEUE": outputs["EscalationQueueName"],
        "STATE_MACHINE": outputs["StateMachineArn"],
    }
