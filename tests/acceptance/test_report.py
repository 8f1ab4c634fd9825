"""The report: what it says about facts, failures and figures, and that it holds no card numbers."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from deploy.errors import DeployError
from tests.acceptance import report
from tests.acceptance.__main__ import signals_as_interrupts
from tests.acceptance.account import Account
from tests.acceptance.figures import bench_command
from tests.acceptance.findings import Findings, Orders
from tests.acceptance.measuring import described
from tests.acceptance.plan import plan
from tests.aws_facts.fact import Result
from tests.aws_facts.known import LOCAL_AWS
from tests.aws_facts.runner import ALL_FACTS

CARD = "4929123412345678"
AWS, LOCAL = "https://sts.eu-central-1.amazonaws.com", "http://127.0.0.1:4566"
PLAN = plan(is_local=False, orders=3, facts="", prefix="acceptance-1a2b3c-")


def account(endpoint: str = AWS) -> Account:
    def client(service: str) -> Any:
        raise AssertionError(f"{service} was called")

    return Account("123456789012", "arn:aws:iam::123456789012:user/tester", "eu-central-1", endpoint, client)


def ignore(_: str) -> None:
    pass


def result(fact_id: str, observed: object = None) -> Result:
    """Return the result of a fact: it holds, unless something else was *observed*."""
    (fact,) = [fact for fact in ALL_FACTS if fact.id == fact_id]
    holds = observed is None
    return Result(fact=fact, holds=holds, observed=fact.expected if holds else observed, seconds=1.0)


def findings(facts: Sequence[Result] = ()) -> Findings:
    found = Findings(ignore, facts=list(facts), removed=["queue acceptance-1a2b3c-Measured"])
    with found.run(), found.step("a step"):
        pass
    return found


def stopped(error: BaseException) -> Findings:
    """Return the findings of a run that an error stops in its second step."""
    found = Findings(ignore, removed=["queue acceptance-1a2b3c-Measured"])
    with found.step("a step"):
        pass
    with pytest.raises(type(error)), found.run(), found.step("Deploying"):
        raise error
    return found


def rendered(found: Findings, endpoint: str = AWS) -> str:
    return report.render(report.Run(account(endpoint), PLAN, found, {"release": "0.1.0"}, "build/workers.log"))


class TestFacts:
    ID = "sqs.an_empty_receive_has_no_messages"
    KNOWN = "sqs.a_delay_is_at_most_900_seconds"

    def test_a_fact_that_holds_is_listed_with_its_files_and_its_source(self) -> None:
        text, fact = rendered(findings([result(self.ID)])), result(self.ID).fact
        (row,) = [line for line in text.splitlines() if f"`{self.ID}`" in line]
        assert row.startswith("| holds |")
        for place in (*fact.relied_on_by, fact.source, fact.statement):
            assert place in row
        assert f"1 of {len(ALL_FACTS)} were checked: 1 hold, 0 do not." in text

    def test_a_fact_with_several_answers_says_which_one_was_observed(self) -> None:
        fact_id = "stepfunctions.a_traced_execution_sends_its_trace_header"
        held = replace(result(fact_id), observed="none")
        (row,) = [line for line in rendered(findings([held])).splitlines() if f"`{fact_id}`" in line]
        assert "Observed: `'none'`." in row

    def test_a_fact_that_does_not_hold_is_reported_with_the_files_that_rely_on_it(self) -> None:
        differing = result(self.ID, "something else")
        text = rendered(findings([differing]))
        assert f"### {self.ID}: does not hold" in text
        assert "- observed: `'something else'`" in text
        assert f"- relied on by: {', '.join(f'`{place}`' for place in differing.fact.relied_on_by)}" in text
        (problem,) = report.fact_problems(account(), [differing])
        assert problem.startswith(f"{self.ID}: ")
        assert all(place in problem for place in differing.fact.relied_on_by)

    def test_a_known_deviation_of_the_local_aws_is_shown_as_such_and_is_no_problem(self) -> None:
        known = result(self.KNOWN, LOCAL_AWS[self.KNOWN])
        assert f"### {self.KNOWN}: a known deviation of the local AWS" in rendered(findings([known]), LOCAL)
        assert report.fact_problems(account(LOCAL), [known]) == []

    def test_the_same_deviation_of_aws_is_a_problem(self) -> None:
        known = result(self.KNOWN, LOCAL_AWS[self.KNOWN])
        assert f"### {self.KNOWN}: does not hold" in rendered(findings([known]))
        assert len(report.fact_problems(account(), [known])) == 1

    def test_a_deviation_that_disappears_is_a_problem_of_the_local_aws_only(self) -> None:
        assert len(report.fact_problems(account(LOCAL), [result(self.KNOWN)])) == 1
        assert report.fact_problems(account(), [result(self.KNOWN)]) == []

    def test_facts_that_were_not_checked_are_said(self) -> None:
        assert f"0 of {len(ALL_FACTS)} were checked" in rendered(findings())

    def test_a_check_that_failed_says_nothing_about_its_fact(self) -> None:
        refused = result(self.ID, "error: ClientError: An error occurred (AccessDenied)")
        text = rendered(findings([refused]))
        assert f"### {self.ID}: could not be checked" in text
        assert "(AccessDenied)" in text
        assert len(report.fact_problems(account(), [refused])) == 1

    def test_facts_that_were_left_out_are_said(self) -> None:
        few = plan(is_local=False, orders=3, facts=self.ID, prefix="acceptance-1a2b3c-")
        text = report.render(report.Run(account(), few, findings([result(self.ID)]), {}, "build/workers.log"))
        others = len(ALL_FACTS) - 1
        assert f"1 of 1 were checked ({others} others were left out by FACTS): 1 hold, 0 do not." in text
        assert "left out" not in rendered(findings([result(self.ID)]))


class TestOutcome:
    def test_what_a_run_does_not_show_is_said_even_if_it_passes(self) -> None:
        text = rendered(findings())
        assert "## What this run does not show" in text
        for what in ("deploy/workers.yaml", "KmsKeyArn", "alarms reach people", "more load"):
            assert what in text

    def test_a_run_passes_if_all_its_steps_are_done_and_nothing_is_left(self) -> None:
        assert findings().passed
        assert rendered(findings()).startswith("# Acceptance of order fulfillment on AWS: passed\n")
        assert "## What is wrong" not in rendered(findings())

    def test_a_failed_step_is_named_with_its_error(self) -> None:
        found = stopped(DeployError("The stack failed"))
        assert not found.passed
        text = rendered(found)
        assert text.startswith("# Acceptance of order fulfillment on AWS: failed\n")
        assert "- Deploying: The stack failed" in text
        # What follows from the rest is there anyway.
        for heading in ("## Facts about AWS", "## The pipeline", "## Figures", "## Cost", "## Left behind"):
            assert heading in text

    def test_an_interrupted_run_is_said(self) -> None:
        found = stopped(KeyboardInterrupt())
        assert rendered(found).startswith("# Acceptance of order fulfillment on AWS: interrupted\n")
        assert not found.passed
        assert "- Deploying: interrupted" in rendered(found)

    @pytest.mark.parametrize(
        ("error", "shown", "outcome"),
        [(OSError("no honcho"), "OSError: no honcho", "failed"), (KeyboardInterrupt(), "interrupted", "interrupted")],
    )
    def test_what_happens_between_two_steps_counts_too(self, error: BaseException, shown: str, outcome: str) -> None:
        found = findings()
        found.completed = False
        with pytest.raises(type(error)), found.run():
            raise error
        assert not found.passed
        text = rendered(found)
        assert text.startswith(f"# Acceptance of order fulfillment on AWS: {outcome}\n")
        assert f"- {shown}" in text

    def test_before_the_removal_the_report_says_how_to_remove(self) -> None:
        found = findings()
        found.removed = None
        assert "make acceptance CLEAN=acceptance-1a2b3c-" in rendered(found)
        assert "AWS: not finished" in rendered(found)

    def test_what_is_left_is_a_failure_with_its_reason(self) -> None:
        found = findings()
        found.left = ["queue acceptance-1a2b3c-x: AccessDenied"]
        assert not found.passed
        assert rendered(found).count("queue acceptance-1a2b3c-x: AccessDenied") == 2
        assert "make acceptance CLEAN=acceptance-1a2b3c-" in rendered(found)

    def test_a_problem_is_a_failure(self) -> None:
        found = findings()
        found.problems = ["acceptance-1: is RECEIVED"]
        assert not found.passed
        assert "- acceptance-1: is RECEIVED" in rendered(found)

    def test_it_says_where_when_and_with_what(self) -> None:
        text = rendered(findings())
        for row in (
            "| account | 123456789012 |",
            "| caller | `arn:aws:iam::123456789012:user/tester` |",
            "| region | eu-central-1 |",
            "| prefix of all names | `acceptance-1a2b3c-` |",
            "| release | 0.1.0 |",
            "| log of the workers | `build/workers.log` |",
        ):
            assert row in text
        assert "A local AWS" not in text
        assert "A local AWS, not an account of AWS" in rendered(findings(), LOCAL)
        assert "- queue acceptance-1a2b3c-Measured" in text
        assert "AWS itself keeps" in text

    @pytest.mark.parametrize("shown", [CARD, "4929 1234 1234 5678", "4929-1234-1234-5678"])
    def test_no_card_number_is_in_it_whatever_is_observed(self, shown: str) -> None:
        found = stopped(DeployError(f"{shown} is refused"))
        found.facts = [result(TestFacts.ID, f"card {shown}")]
        found.problems = [f"order of {shown}"]
        text = rendered(found)
        assert shown not in text
        assert text.count("****") >= 3

    def test_a_cell_breaks_no_table(self) -> None:
        found = findings()
        found.steps[0] = replace_step(found, "a | b\nc")
        assert "| a \\| b c | done |" in rendered(found)


def replace_step(found: Findings, name: str) -> Any:
    return replace(found.steps[0], name=name)


class TestFigures:
    def found(self) -> Findings:
        found = findings()
        submitted = {"acceptance-1": 100.0, "acceptance-2": 101.0, "acceptance-3": 102.0}
        settled = {"acceptance-1": 101.0, "acceptance-2": 105.0, "acceptance-3": 106.0, "001": 50.0}
        found.orders = Orders(submitted, settled, fulfilled=2, escalated=1)
        found.traced = {"OrderFulfillmentQueue": "no trace header"}
        found.calls_ms = {
            "SendMessage": [10.0, 12.0, 14.0],
            "UpdateItem": [5.0],
            "BatchExecuteStatement of 25": [15.0],
            "TransactWriteItems of 2": [20.0],
            "ReceiveMessage under backlog": [30.0],
        }
        found.receives = {0: 1, 3: 2, 9: 1}
        return found

    def test_latencies_are_those_of_each_kind_of_order(self) -> None:
        text = rendered(self.found())
        assert "| orders | 3 submitted, 2 fulfilled, 1 escalated |" in text
        assert "| submitted to FULFILLED, seconds | p50 2.50, p99 4.00, longest 4.00 |" in text
        assert "| submitted to ESCALATED, seconds | p50 4.00, p99 4.00, longest 4.00 |" in text
        assert "| orders submitted a second | 1.5 |" in text
        assert "| orders settled a second | 0.5, from the first submission" in text

    def test_single_calls_receives_and_trace_headers_are_shown(self) -> None:
        text = rendered(self.found())
        assert "| SendMessage | 3 | 12.0 | 14.0 | 14.0 |" in text
        assert "| 3 | 2 | 50% |" in text
        assert "except escalations | none |" in text
        assert "| trace header on messages of the OrderFulfillmentQueue | no trace header |" in text

    def test_the_benchmark_takes_the_measured_figures(self) -> None:
        assert bench_command(self.found()) == (
            ".venv/bin/python -m tests.bench --receive-ms 30.0 --sqs-ms 12.0 --dynamodb-ms 5.0 --batch-ms 15.0 "
            "--transaction-ms 20.0 --receive-sizes 3,9"
        )

    def test_trouble_of_the_workers_is_counted(self) -> None:
        found = self.found()
        found.trouble.update(["poll.failed", "aws.unavailable", "poll.failed"])
        assert "except escalations | 1 aws.unavailable, 2 poll.failed |" in rendered(found)

    def test_the_stack_is_described(self) -> None:
        found = self.found()
        found.outputs = {"OrderTableName": "acceptance-1a2b3c-OrderTable"}
        found.parameters = {"TableProtection": "false", "KmsKeyArn": ""}
        found.resources = {"AWS::DynamoDB::Table": 2}
        text = rendered(found)
        assert "- parameters: KmsKeyArn='', TableProtection='false'" in text
        assert "- resources: 2 AWS::DynamoDB::Table" in text

    def test_no_settled_order_is_no_error(self) -> None:
        found = self.found()
        found.orders = Orders({}, {})
        assert "| orders | 0 submitted, 0 fulfilled, 0 escalated |" in rendered(found)

    @pytest.mark.parametrize(
        ("header", "text"),
        [
            (None, "no trace header"),
            ("", "no trace header"),
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0", "yes: Root=...;Parent=...;"),
            ("Root=1-5759e988-bd862e3fe1be46a994272793", "yes: Root=..."),
        ],
    )
    def test_a_trace_header_is_described_without_its_ids(self, header: str | None, text: str) -> None:
        assert described(header).startswith(text)
        assert "5759e988" not in described(header)


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_is_an_interrupt(self, number: signal.Signals) -> None:
        before = signal.signal(number, signal.SIG_DFL)  # Under `nohup`, SIGHUP is ignored.
        try:
            with pytest.raises(KeyboardInterrupt), signals_as_interrupts():
                signal.raise_signal(number)
            assert signal.getsignal(number) is signal.SIG_DFL
        finally:
            signal.signal(number, before)

    def test_an_ignored_signal_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with signals_as_interrupts():
                signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)
