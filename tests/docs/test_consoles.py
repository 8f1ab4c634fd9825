"""The sessions that pages show, played on a local AWS with both workers, print what the pages say."""

import json

import pytest

from deploy.local.samples import SAMPLES
from tests.docs.console import DUMMY_CARD, agree, run, shown
from tests.docs.pages import page
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployStack, StartWorker

SESSIONS = {"README.md": "readme-", "docs/operating.md": "operating-"}


@pytest.fixture(params=SESSIONS)
def session(
    request: pytest.FixtureRequest, deploy_stack: DeployStack, start_worker: StartWorker
) -> tuple[str, Pipeline]:
    """A page, and a stack on which happened what happens before the page's first command."""
    name: str = request.param
    pipeline = Pipeline(deploy_stack(SESSIONS[name]))
    for worker in ("fulfillment", "escalation"):
        start_worker(worker, stack=pipeline.stack).wait_for("worker.started")
    if name == "README.md":  # What `make run` has done.
        for path in sorted(SAMPLES.glob("*.json")):
            text = path.read_text(encoding="utf-8")
            pipeline.client("stepfunctions").start_execution(
                stateMachineArn=pipeline.stack.state_machine_arn,
                name=f"sample-{json.loads(text)['OrderId']}",
                input=text,
            )
    return name, pipeline


def wait_until_idle(pipeline: Pipeline) -> None:
    stack = pipeline.stack
    urls = (stack.order_fulfillment_queue_url, stack.escalation_queue_url)
    wait_until(
        lambda: (
            not any(map(pipeline.queued, urls))
            and all(
                item["Status"]["S"] != "RECEIVED"
                for item in pipeline.client("dynamodb").scan(TableName=stack.order_table)["Items"]
            )
        )
    )


def test_the_sessions_of_a_page_print_what_it_shows(session: tuple[str, Pipeline]) -> None:
    name, pipeline = session
    environment = pipeline.stack.worker_environment() | {"STATE_MACHINE": pipeline.stack.state_machine_arn}
    wait_until_idle(pipeline)
    commands = list(shown(page(name)))
    assert commands
    for each in commands:
        if "dead-letters" in each.command:
            pipeline.send_fulfillment("not an order")
            wait_until_idle(pipeline)
        printed = run(each.command, environment).replace("\r", "").replace(pipeline.stack.name_prefix, "")
        assert agree(printed, each.output), f"{each.command} prints:\n{printed}"
        assert DUMMY_CARD not in printed
        wait_until_idle(pipeline)
