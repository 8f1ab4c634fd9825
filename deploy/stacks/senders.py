"""The template's `SenderArns`: who may send to the queues. With `--pipeline-only`, first the caller who deploys."""

import re

from deploy.aws import Aws

PARAMETER = "SenderArns"


def caller(aws: Aws) -> str:
    """
    Return the ARNs of the caller, as policies compare them; empty for a federated user, who has no lasting ARN.

    A role is named with and without a path: policies compare with the path, but a session's ARN does not have it.
    """
    arn = aws.sts.get_caller_identity()["Arn"]
    _, partition, _, _, account, resource = arn.split(":", 5)
    kind, *names = resource.split("/")
    match kind:
        case "user" | "root":
            arns = [arn]
        case "assumed-role":
            arns = [f"arn:{partition}:iam::{account}:role/{path}{names[0]}" for path in ("", "*/")]
        case _:
            arns = []
    # A comma separates the ARNs, but a name may contain one: `?` matches any character.
    return ",".join(re.sub(r"[^A-Za-z0-9:/_+=.@*-]", "?", name) for name in arns)
