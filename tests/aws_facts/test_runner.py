"""The runner: what it reports, that it touches nothing but its own resources, and that it removes them."""

from collections.abc import Callable
from typing import Any

import pytest

from deploy.local.aws import LocalAws
from tests.acceptance.permissions import LISTED, allowed, needed
from tests.aws_facts.conftest import PATIENCE_S, PREFIX, Run
from tests.aws_facts.fact import Fact, Result
from tests.aws_facts.known import LOCAL_AWS, problems
from tests.aws_facts.lab import Clients, Lab, error_of
from tests.aws_facts.leftovers import remove
from tests.aws_facts.queues import is_visible, send
from tests.aws_facts.runner import ALL_FACTS, run_facts
from tests.aws_facts.stacks import propose, template
from tests.aws_facts.tables import table_of
from tests.aws_facts.workflows import PASS, WAIT, start, state_machine
from tests.chaos.proxy import Fault, FaultProxy, Rule
from workers.testing import sdk


def _facts(*names: str) -> list[Fact]:
    chosen = [fact for fact in ALL_FACTS if fact.id.partition(".")[2] in names]
    assert len(chosen) == len(names)
    return chosen


def _made_up(check: Callable[[Lab], object], expected: object = None) -> Fact:
    return Fact(
        id="sqs.made_up",
        service="sqs",
        statement="A made-up fact.",
        source="https://example.com/",
        relied_on_by=("workers/aws/sqs.py::SqsQueue",),
        expected=expected,
        check=check,
    )


class TestFaults:
    """A local AWS with a fault put in."""

    def test_a_changed_answer_names_the_fact_and_the_code_that_relies_on_it(self, local_aws: LocalAws) -> None:
        facts = _facts(
            "an_expired_receipt_deletes", "an_empty_receive_has_no_messages", "a_timeout_of_0_makes_a_message_visible"
        )
        with FaultProxy(local_aws.endpoint, seed=1) as proxy:
            # Deletes are refused, entry by entry.
            proxy.inject(Rule(Fault.FAILED_ENTRIES, actions={"DeleteMessageBatch"}))
            results = run_facts(
                lambda service: sdk.client(service, proxy.url), "facts-fault-", facts=facts, patience_s=PATIENCE_S
            )
        (text,) = problems(results, LOCAL_AWS)
        assert text.startswith("sqs.an_expired_receipt_deletes: A receipt whose visibility timeout has run out still")
        assert "workers/aws/sqs.py::delete_message_batch" in text
        assert "AWS:      ['ok', False]" in text

    def test_a_missing_part_of_an_error_names_the_fact(self, local_aws: LocalAws, clients: Clients) -> None:
        client = local_aws.client("dynamodb")
        client.meta.events.register("after-call.dynamodb.UpdateItem", lambda parsed, **_: parsed.pop("Item", None))
        results = run_facts(
            lambda service: client if service == "dynamodb" else clients(service),
            "facts-fault-",
            facts=_facts("a_failed_condition_returns_the_item", "a_counter_starts_at_0"),
            patience_s=PATIENCE_S,
        )
        (text,) = problems(results, LOCAL_AWS)
        assert text.startswith("dynamodb.a_failed_condition_returns_the_item: ")
        assert "workers/aws/trials.py::count_trial" in text


class TestDeviations:
    def _problems(self, observed: object, known: dict[str, object]) -> list[str]:
        facts = [_made_up(lambda _lab: observed, expected="ok")]
        return problems(run_facts(_no_client, "facts-", facts=facts), known)

    def test_a_known_deviation_is_no_problem(self) -> None:
        assert self._problems("refused", {"sqs.made_up": "refused"}) == []

    def test_a_deviation_that_disappears_is_a_problem(self) -> None:
        (text,) = self._problems("ok", {"sqs.made_up": "refused"})
        assert "now does what AWS does" in text

    def test_a_deviation_that_changes_is_a_problem(self) -> None:
        (text,) = self._problems("lost", {"sqs.made_up": "refused"})
        assert "observed: 'lost'" in text
        assert "known:    'refused'" in text

    def test_a_check_that_fails_is_a_result(self) -> None:
        def check(_lab: Lab) -> object:
            raise LookupError("no message came")

        (result,) = run_facts(_no_client, "facts-", facts=[_made_up(check)])
        assert (result.holds, result.observed) == (False, "error: LookupError: no message came")

    def test_each_result_is_one_line_of_progress(self) -> None:
        lines: list[str] = []
        run_facts(_no_client, "facts-", lines.append, facts=[_made_up(lambda _lab: "x", expected="x")])
        assert lines == ["holds  sqs.made_up  (0.0 s)"]


def _no_client(service: str) -> Any:
    raise AssertionError(f"a client of {service} was made")


def test_results_are_not_lost_if_a_resource_cannot_be_removed() -> None:
    def check(lab: Lab) -> object:
        def refused() -> None:
            raise LookupError("not today")

        lab.removes(refused)
        return "x"

    lines: list[str] = []
    (result,) = run_facts(_no_client, "facts-", lines.append, facts=[_made_up(check, expected="x")])
    assert result.holds
    assert lines[-1] == "1 resources of facts- could not be removed: LookupError: not today"


@pytest.mark.parametrize("prefix", ["", "x", "Facts-", "facts", "facts_-", f"{'x' * 30}-", "-"])
def test_a_prefix_that_is_not_one_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="is not 2 to 30"):
        run_facts(_no_client, prefix, facts=[])


def test_a_run_names_only_resources_with_its_prefix(facts_run: Run) -> None:
    assert {(call, name) for call, name in facts_run.named if PREFIX not in name} == set()
    assert len(facts_run.named) > len(ALL_FACTS)


def test_a_run_calls_only_what_the_policy_for_it_allows(facts_run: Run) -> None:
    needs = {action for service, operation in facts_run.called for action in needed(service, operation, {})}
    assert {action for action in needs if not allowed(action)} == set(), LISTED


def test_a_run_leaves_nothing(facts_run: Run, clients: Clients) -> None:
    assert len(facts_run.results) == len(ALL_FACTS)
    assert remove(clients, PREFIX) == []


def test_an_interrupted_run_removes_what_it_made(clients: Clients) -> None:
    def check(lab: Lab) -> object:
        url = lab.queue()
        table_of(lab)
        state_machine(lab, PASS)
        send(lab, url)
        return is_visible(lab, url)

    def waits(lab: Lab) -> object:
        lab.queue()
        lab.sleep(3600)
        return None

    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    found: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        run_facts(clients, "facts-left-", interrupt, found=found.append, facts=[_made_up(waits), _made_up(check)])
    assert [result.observed for result in found] == [True]
    assert remove(clients, "facts-left-") == []


def test_what_a_killed_run_has_left_is_removed_by_its_prefix(clients: Clients) -> None:
    lab = Lab(clients, "facts-left-", patience_s=PATIENCE_S)  # Never closed.
    url, table, machine = lab.queue(), table_of(lab), state_machine(lab, PASS)
    change_set = propose(lab, lab.name(), template(), "CREATE")
    execution = start(lab, state_machine(lab, WAIT))
    kept = lab.sqs.create_queue(QueueName="facts-kept")["QueueUrl"]
    stopped: list[str] = []
    lab.workflows.meta.events.register(
        "provide-client-params.*.StopExecution", lambda params, **_: stopped.append(params["executionArn"])
    )
    removed = remove(clients, "facts-left-")
    assert f"queue {url.rpartition('/')[2]}" in removed
    assert f"table {table}" in removed
    assert f"state machine {machine.rpartition(':')[2]}" in removed
    assert f"stack {change_set['StackName']}" in removed
    # On AWS, a state machine is there until its executions have ended.
    assert stopped == [execution]
    assert error_of(lab.sqs.get_queue_attributes, QueueUrl=kept) == "ok"
    assert remove(clients, "facts-left-") == []
    lab.sqs.delete_queue(QueueUrl=kept)
