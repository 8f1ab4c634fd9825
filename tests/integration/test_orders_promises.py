"""What every command of `orders` promises: one line about an error, and no card number anywhere."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.chaos.proxy import Fault, FaultProxy, Rule
from tests.integration.command_line import CARD, CommandLine
from tests.integration.conftest import Running, running_workers
from tests.integration.pipeline import wait_until
from tests.support import DeployStack

GROUPED = "4929 1234 1234 5678"
ACT = ("--actor", "ada", "--note", "as agreed", "--yes")
UNREAD = "orders: an AWS response cannot be read; the command can be repeated\n"


@pytest.fixture(scope="module")
def desk(deploy_stack: DeployStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("promises")
    with running_workers(deploy_stack("promises-"), directory, LOG_LEVEL="DEBUG") as desk:
        yield desk


@pytest.fixture
def orders(desk: Running) -> CommandLine:
    return CommandLine(desk.pipeline.stack)


COMMANDS = [
    ["list"],
    ["show", "001"],
    ["queues"],
    ["escalations", "list"],
    ["escalations", "show", "001"],
    ["escalations", "resolve", "001", "cancel", *ACT],
    ["dead-letters", "list"],
    ["dead-letters", "discard", "fulfillment", "--yes"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_unreadable_response_is_an_error_not_an_empty_answer(
    orders: CommandLine, proxy: FaultProxy, arguments: list[str]
) -> None:
    proxy.inject(Rule(Fault.GARBLED))
    shown = orders(*arguments, AWS_ENDPOINT_URL=proxy.url)
    assert (shown.code, shown.out, shown.err) == (1, "", UNREAD)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["list", "--limit", "9" * 30], "is not in the range 1<=x<="),
        (["dead-letters", "replay", "fulfillment", "--rate", "nan"], "nan is not a number of messages"),
    ],
)
def test_numbers_out_of_range_are_bad_usage(orders: CommandLine, arguments: list[str], problem: str) -> None:
    refused = orders(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert problem in refused.err


@pytest.mark.parametrize("key", [GROUPED, "", "x" * 300, "bytes-\udcff"])
def test_an_impossible_case_id_is_never_sent_to_aws(orders: CommandLine, proxy: FaultProxy, key: str) -> None:
    refused = orders("escalations", "show", key, AWS_ENDPOINT_URL=proxy.url)
    assert (refused.code, refused.out) == (1, "")
    (line,) = refused.err.splitlines()
    assert line.startswith("orders: there is no case '")
    assert proxy.count("GetItem") == 0


@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [
        ("<&-", "submit -", 0),
        ("<&-", "escalations resolve x cancel --actor a --note b", 1),
        (">&-", "queues", 1),
        ("2>&-", "show nobody", 1),
    ],
)
def test_closed_standard_streams_cause_no_traceback(
    orders: CommandLine, closed: str, arguments: str, code: int
) -> None:
    environment = orders.stack.worker_environment() | {"STATE_MACHINE": orders.stack.state_machine_arn}
    command = f"exec {sys.executable} -m workers.cli {arguments} {closed}"
    shown = subprocess.run(
        ["/bin/sh", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert shown.returncode == code
    assert "Traceback" not in shown.stderr


def test_a_card_number_in_any_field_or_argument_is_never_written(
    desk: Running, orders: CommandLine, tmp_path: Path
) -> None:
    pipeline = desk.pipeline
    file = tmp_path / f"{CARD}.jsonl"
    good = {"OrderId": "card-1", "Name": f"Ada {GROUPED}", "ItemName": CARD, "Price": CARD, "CC": CARD}
    records: list[Any] = [
        good,
        good | {"OrderId": CARD},
        good | {"OrderId": "card-2", "Price": int(CARD)},
        good | {"OrderId": "card-3", "Price": "1", "ItemName": "fail"},
        [CARD],
        CARD,
        int(CARD),
    ]
    file.write_text("\n".join([*map(json.dumps, records), f'{{"OrderId": "{CARD}', f"{CARD},{CARD}"]), encoding="utf-8")
    submitted = orders("submit", file)  # `ran` searches every output for the card number.
    assert submitted.out == "2 submitted, 0 already submitted, 8 bad, 0 failed\n"
    assert "****.jsonl:2: OrderId looks like a card number, must be " in submitted.err
    desk.escalation.wait_for("escalation.routed", order_id="card-1")

    planted = ("--actor", f"ada {CARD}", "--note", f"their card is {GROUPED}", "--yes")
    resubmit = ("escalations", "resolve", "card-1", "resubmit", "--card-number-stdin", *planted)
    for wrong in (["--price", CARD], ["--order-id", CARD], [CARD], [f"--{CARD}"], ["--price", "1", "--name", ""]):
        assert orders(*resubmit, *wrong, stdin=CARD).code == 2
    fixed = ("--price", "1", "--name", f"Ada {CARD}", "--item-name", f"reject {GROUPED}")
    assert orders(*resubmit, *fixed, stdin=GROUPED).code == 0
    # The actor on the case is masked; the same command is still by the same person.
    assert orders(*resubmit, *fixed, stdin=CARD).code == 0
    wait_until(lambda: (pipeline.order("card-1") or {}).get("ItemName") == "reject ****")
    for how in (["fulfill", "--shipment-id", CARD], ["cancel", CARD], [CARD]):
        assert orders("escalations", "resolve", "card-1", *how, *planted).code == 2

    for url in (pipeline.stack.order_fulfillment_dlq_url, pipeline.stack.escalation_dlq_url):
        pipeline.client("sqs").send_message(
            QueueUrl=url,
            MessageBody=json.dumps({"OrderId": CARD, "Detail": GROUPED}),
            MessageAttributes={"Reason": {"DataType": "String", "StringValue": f"UNSPECIFIED {CARD}"}},
        )
    log = tmp_path / "workers.log"
    log.write_text(
        f"{desk.fulfillment.output()}{desk.escalation.output()}"
        f'plain {CARD}\n{{"event": "{CARD}", "order_id": "card-1", "{CARD}": {CARD}}}\n',
        encoding="utf-8",
    )
    for arguments in (
        ["list"],
        ["list", "--older-than", CARD],
        ["show", "card-1", "--logs", log],
        ["show", "card-1", "--logs", log, "--json"],
        ["show", CARD],
        ["escalations", "list", "--json"],
        ["escalations", "show", "card-1"],
        ["escalations", "show", "card-1", "--json"],
        ["escalations", "show", CARD],
        ["dead-letters", "list", "--bodies"],
        ["dead-letters", "list", "--bodies", "--json"],
        ["dead-letters", "replay", "escalation", "--limit", CARD],
        ["dead-letters", "discard", "fulfillment", "--yes"],
        ["logs", log],
        ["logs", log, "--order", "card-1", "--json"],
        ["submit", CARD],
    ):
        shown = orders(*arguments)
        assert "Traceback" not in shown.err

    assert orders("dead-letters", "discard", "escalation", "--yes").code == 0  # The message of this test.
    logged = desk.fulfillment.output() + desk.escalation.output()
    stored = [*pipeline.scan(pipeline.stack.order_table), *pipeline.scan(pipeline.stack.escalation_table)]
    urls = (pipeline.stack.order_fulfillment_queue_url, pipeline.stack.escalation_queue_url)
    sent = [pipeline.take(url) for url in urls]
    everything = logged + json.dumps([stored, sent], default=str)
    assert "their card is ****" in everything
    assert CARD not in re.sub(r"[ -]", "", everything)
