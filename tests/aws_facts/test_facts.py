"""The facts about AWS on the local AWS, and the list of them."""

import re

import pytest

from tests.aws_facts.conftest import Run
from tests.aws_facts.fact import Fact
from tests.aws_facts.known import LOCAL_AWS, ROOT, problem
from tests.aws_facts.runner import ALL_FACTS

# The first of these tests waits for the run of all facts.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("fact", ALL_FACTS, ids=lambda fact: fact.id)
def test_the_local_aws_does_what_aws_does_or_deviates_as_known(fact: Fact, facts_run: Run) -> None:
    if text := problem(facts_run.results[fact.id], LOCAL_AWS):
        pytest.fail(text, pytrace=False)


def test_known_deviations_are_of_facts() -> None:
    assert LOCAL_AWS.keys() <= {fact.id for fact in ALL_FACTS}


@pytest.mark.parametrize("fact", ALL_FACTS, ids=lambda fact: fact.id)
def test_a_fact_names_its_source_and_the_code_that_relies_on_it(fact: Fact) -> None:
    assert re.match(r"https://[a-z.]+/", fact.source)
    assert fact.relied_on_by
    for place in fact.relied_on_by:
        path, separator, name = place.partition("::")
        assert separator, f"{place} names no part of the file"
        assert (ROOT / path).is_file(), f"there is no file {path}"
        assert name in (ROOT / path).read_text(encoding="utf-8"), f"{path} does not mention {name}"
