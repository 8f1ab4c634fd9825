"""The template's `SenderArns`: who may send to the queues. With `--pipeline-only`, its first value is the caller."""

import re

from deploy.aws import Aws

PARAMETER = "SenderArns"


def caller(aws: Aws) -> str:
    """
    Return the caller's ARNs in the form that policies compare. Empty for a federated user, who has no lasting ARN.

    A role gets two ARNs, with and without a path. Policies compare the path too, but a session's ARN does not have it.
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
    # Commas separate the ARNs, but a name may contain a comma. So replace it with `?`, which matches any character.
    return ",".join(re.sub(r"[^A-Za-z0-9:/_+=.@*-]", "?", name) for name in arns)
