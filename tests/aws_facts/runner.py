"""
Runs the facts against the AWS that `client` reaches: the local AWS, another implementation, or an account.

    results = run_facts(boto3.Session().client, "acceptance-1a2b-", print)
    changed = [result for result in results if not result.holds]

- Every resource that a run creates has a name that begins with the prefix. It calls nothing else in the account.
- It removes them at its end, also if it is interrupted: `KeyboardInterrupt` and `SystemExit` in the calling thread end
  it within seconds. After a `kill -9`, `remove(client, prefix)` does the same.
- It needs about a minute and costs less than a cent. It makes about 60 queues, 3 tables, 30 state machines, 3 stacks,
  2 buckets, a topic, a rule and a role.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from tests.aws_facts.fact import Fact, Result, registered
from tests.aws_facts.lab import Clients, Lab, RemovalError, Stopped
from tests.aws_facts.leftovers import remove
from tests.aws_facts.services import (
    cloudformation,
    deployments,
    dynamodb_items,
    dynamodb_retention,
    dynamodb_writes,
    others,
    sqs_messages,
    sqs_queues,
    sqs_receipts,
    workflow_calls,
    workflow_expressions,
    workflow_maps,
    workflow_sdk,
    workflow_states,
)

__all__ = ["ALL_FACTS", "CONCURRENCY", "MODULES", "remove", "run_facts"]

# Importing these modules registers their facts.
MODULES = (
    sqs_receipts,
    sqs_messages,
    sqs_queues,
    dynamodb_items,
    dynamodb_retention,
    dynamodb_writes,
    workflow_calls,
    workflow_sdk,
    workflow_states,
    workflow_expressions,
    workflow_maps,
    cloudformation,
    deployments,
    others,
)
ALL_FACTS: tuple[Fact, ...] = registered()

CONCURRENCY = 12


def run_facts(
    client: Clients,
    prefix: str,
    progress: Callable[[str], None] | None = None,
    *,
    found: Callable[[Result], None] | None = None,
    facts: Sequence[Fact] = ALL_FACTS,
    patience_s: float = 60.0,
) -> list[Result]:
    """
    Check *facts*, several at a time, and return their results in the same order.

    Args:
        client: `session.client`, or any function that makes a boto3 client of a service.
        prefix: Begins the names of all resources: lower-case letters, digits and dashes, at most 30 characters.
        progress: Gets one line for each result.
        found: Gets each result at once, also if the run is interrupted later. Several threads call it.
        facts: Those to check.
        patience_s: How long to wait for what AWS does eventually: numbers of messages, index entries, new roles.
    """
    report, find = progress or (lambda _line: None), found or (lambda _result: None)
    results: list[Result] = []
    try:
        with Lab(client, prefix, patience_s=patience_s) as lab, ThreadPoolExecutor(CONCURRENCY, "facts") as pool:
            running = [pool.submit(_result, fact, lab, report, find) for fact in facts]
            try:
                for done in wait(running, return_when=FIRST_EXCEPTION).done:
                    done.result()  # Raises what has ended the run.
            except BaseException:
                lab.stop()
                _cancel(running)
                raise
            results = [done.result() for done in running]
    except RemovalError as error:  # The results are not lost with it.
        report(str(error))
    return results


def _cancel(running: Sequence[Future[Result]]) -> None:
    for future in running:
        future.cancel()


def _result(fact: Fact, lab: Lab, report: Callable[[str], None], find: Callable[[Result], None]) -> Result:
    began_s = time.monotonic()
    try:
        observed = fact.check(lab)
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its result
        observed = f"error: {type(error).__name__}: {str(error)[:300]}"
    result = Result(fact=fact, holds=fact.agrees_with(observed), observed=observed, seconds=time.monotonic() - began_s)
    find(result)
    report(f"{'holds' if result.holds else 'DIFFERS'}  {fact.id}  ({result.seconds:.1f} s)")
    return result
