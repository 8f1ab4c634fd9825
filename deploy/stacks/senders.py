"""Who may send to the queues, as the template's `SenderArns` has it: by default whoever deploys the pipeline alone."""

import re

from deploy.aws import Aws

PARAMETER = "SenderArns"


def caller(aws: Aws) -> str:
    """
    Return who calls AWS here; empty where no policy can name them for long (a federated user).

    A role is named with and without a path: a session's ARN lacks it, what policies compare with has it.
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
    # A name may hold a comma, which separates here.
    return ",".join(re.sub(r"[^A-Za-z0-9:/_+=.@*-]", "?", each) for each in arns)
