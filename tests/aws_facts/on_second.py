"""
The facts about queues on an independent SQS. `make second` runs this file; without its plugin it is not collected.

The deviations that both implementations have are those that no test here can show: only an account can.
"""

import os
from collections.abc import Mapping

import pytest

from tests.aws_facts.conftest import PATIENCE_S, PREFIX
from tests.aws_facts.fact import Fact, Result
from tests.aws_facts.known import SECOND_SQS, problem
from tests.aws_facts.runner import ALL_FACTS, run_facts
from tests.aws_facts.second import VARIABLE
from workers.testing import sdk

QUEUE_FACTS = [fact for fact in ALL_FACTS if fact.service == "sqs"]


@pytest.fixture(scope="session")
def results() -> Mapping[str, Result]:
    url = sdk.environment("http://127.0.0.1:1", os.environ)[VARIABLE]
    client = sdk.client("sqs", url)
    found = run_facts(lambda _service: client, PREFIX, facts=QUEUE_FACTS, patience_s=PATIENCE_S)
    return {result.id: result for result in found}


@pytest.mark.parametrize("fact", QUEUE_FACTS, ids=lambda fact: fact.id)
def test_an_independent_sqs_does_what_aws_does_or_deviates_as_known(fact: Fact, results: Mapping[str, Result]) -> None:
    if text := problem(results[fact.id], SECOND_SQS):
        pytest.fail(text, pytrace=False)


def test_known_deviations_are_of_queue_facts() -> None:
    assert SECOND_SQS.keys() <= {fact.id for fact in QUEUE_FACTS}


def test_it_is_not_the_local_aws() -> None:
    client = sdk.client("sqs", "http://127.0.0.1:1")  # Nothing listens there.
    assert client.meta.endpoint_url == sdk.environment("http://127.0.0.1:1", {})[VARIABLE]
