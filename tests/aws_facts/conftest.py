"""Fixture: the results of all facts on the session's local AWS."""

from collections.abc import Mapping

import pytest

from deploy.local.aws import LocalAws
from tests.aws_facts.fact import Result
from tests.aws_facts.runner import run_facts

# The local AWS shows every change at once.
PATIENCE_S = 3.0


@pytest.fixture(scope="session")
def results(local_aws: LocalAws) -> Mapping[str, Result]:
    """All results, by fact. The facts are checked together, because most of their time is waiting."""
    found = run_facts(local_aws.client, "facts-", patience_s=PATIENCE_S)
    return {result.id: result for result in found}
