"""Removes everything that a run has made, by its prefix."""

from collections.abc import Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from deploy.stacks import artifacts, pipeline
from tests.acceptance.account import Account
from tests.acceptance.findings import Note
from tests.aws_facts.leftovers import NotRemovedError, remove

_LOCAL_PATIENCE_S = 20.0
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed, and a line for everything that could not be removed."""

    removed: Sequence[str]
    left: Sequence[str]


def clean(account: Account, prefix: str, note: Note) -> Removal:
    """
    Remove the stacks, their retained tables, the deployer's uploads, and everything else with *prefix*.

    It can be repeated, and does not mind a stack that is still being created.
    """
    patience_s = _LOCAL_PATIENCE_S if account.is_local else _PATIENCE_S
    try:
        removed, left = list(remove(account.client, prefix, note, patience_s=patience_s)), []
    except NotRemovedError as error:
        removed, left = list(error.removed), list(error.problems)
    except (BotoCoreError, ClientError) as error:
        removed, left = [], [f"everything with the prefix {prefix}: {error}"]
    bucket = artifacts.bucket_for(account.deployer, pipeline.stack_name(prefix))
    try:
        artifacts.remove(account.deployer, bucket)
    except (BotoCoreError, ClientError) as error:
        left.append(f"objects of the bucket {bucket.name} that begin with {bucket.stack_name}/: {error}")
    return Removal(removed, left)
