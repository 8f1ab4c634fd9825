"""What an account asks of its stacks: tags on every resource, and a role that CloudFormation takes for its work."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploy.errors import DeployError
from workers.operations.retention import RETENTION_TAG

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef, TagTypeDef

# CloudFormation passes a stack's tags on to its resources. All services accept these numbers and characters.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
MAX_TAGS = 50
_KEY = re.compile(r"[\w .:/+@-]{1,128}")
_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9/_+=.@,-]{1,512}")


@dataclass(frozen=True, slots=True)
class StackOptions:
    """
    The tags that a deployment changes (an empty value removes one), and the ARN of CloudFormation's role.

    A stack keeps its other tags. Without a role, it keeps the role of an earlier deployment.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    role_arn: str | None = None


NO_OPTIONS = StackOptions()


def parsed(tags: Iterable[str], role_arn: str | None) -> StackOptions:
    """Parse `Key=Value` texts and check the role's ARN. Raises `DeployError`."""
    given: dict[str, str] = {}
    for text in tags:
        key, equals, value = text.partition("=")
        if not equals:
            raise DeployError(f"--tag {text}: must be Key=Value")
        if problem := _problem(key, value):
            raise DeployError(f"--tag {text}: {problem}")
        if key in given:
            raise DeployError(f"--tag {key}: is given twice")
        given[key] = value
    if role_arn is not None and not _ROLE.fullmatch(role_arn):
        raise DeployError(f"--role-arn {role_arn}: must be the ARN of an IAM role, arn:aws:iam::111122223333:role/Name")
    return StackOptions(given, role_arn)


def _problem(key: str, value: str) -> str | None:
    if not _KEY.fullmatch(key):
        return "the key must have 1 to 128 letters, digits, spaces and _ . : / + - @"
    if not _VALUE.fullmatch(value):
        return "the value must have at most 256 letters, digits, spaces and _ . : / = + - @"
    if key.lower().startswith("aws:") or value.lower().startswith("aws:"):
        return "AWS reserves keys and values that begin with aws:"
    if key == RETENTION_TAG:
        return f"the order table has this tag for itself. Use --parameter {RETENTION_TAG}="
    return None


def merged_tags(stack: "StackTypeDef | None", given: Mapping[str, str]) -> "list[TagTypeDef] | None":
    """
    Return all tags that the stack is to have; `None` if it has none and gets none.

    Raises `DeployError` if these are too many.
    """
    old = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])} if stack else {}
    tags = {key: value for key, value in {**old, **given}.items() if value}
    if len(tags) > MAX_TAGS - 1:
        raise DeployError(
            f"The stack would have {len(tags)} tags, must have at most {MAX_TAGS - 1}: AWS allows {MAX_TAGS}, and the "
            "order table has one of its own"
        )
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())] if old or tags else None
