"""If you follow the next step until it says `nothing`, nothing is left: no open order or case, no dead letter."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tests.workers.domain.examples import case, evidence
from tests.workers.operations.fakes import EXECUTION, NOW, FakeClient, fake_stack, refused
from tests.workers.operations.queue_fakes import FakeQueue
from workers import clock
from workers.aws.case_items import case_item
from workers.aws.items import from_item, to_item
from workers.domain.cases import Case, CaseState, Claim
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason
from workers.domain.resolutions import Action, Request, plan_resolution
from workers.operations.next_step import next_step
from workers.operations.story import gather

ONE, AGAIN, AT = f"{EXECUTION}:one", f"{EXECUTION}:again", clock.written(NOW - timedelta(hours=2))
BAD = {"Reason": "UNDECODABLE_MESSAGE: neither", "OriginMessageId": "o-1"}
FINAL = {OrderStatus.FULFILLED, OrderStatus.CANCELLED}


class World:
    """Orders, cases and dead letters, which change as the real ones do when a person follows a step."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.cases: dict[str, Case] = {}
        self.letters = {"fulfillment": FakeQueue(), "escalation": FakeQueue()}
        self.stack = fake_stack(
            dynamodb=FakeClient(get_item=self._get_item),
            stepfunctions=FakeClient(get_execution_history=self._no_history),
            sqs=cast("FakeClient", self),
        )

    def _get_item(self, *, Key: Any, **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name.
        ((name, key),) = from_item(Key).items()
        if name == "CaseId":
            return {"Item": case_item(self.cases[key])} if key in self.cases else {}
        if key not in self.orders:
            return {}
        order = self.orders[key]
        item = {"OrderId": key, "Status": str(order.status), "ExecutionArn": order.execution_arn, "UpdatedAt": AT}
        return {"Item": to_item(item)}

    def _no_history(self, **_: Any) -> Iterator[Any]:
        raise refused("ExecutionDoesNotExist", "GetExecutionHistory")

    async def call(self, operation: str, **request: Any) -> Any:
        if operation == "get_queue_url":
            return {"QueueUrl": request["QueueName"]}
        if request["QueueUrl"].endswith("-DLQ"):
            return await self.letters[self._choice(request["QueueUrl"])].call(operation, **request)
        target = f"arn:aws:sqs:us-east-1:000000000000:{request['QueueUrl']}-DLQ"
        return {"Attributes": {"RedrivePolicy": json.dumps({"deadLetterTargetArn": target})}}

    @staticmethod
    def _choice(url: str) -> str:
        return "fulfillment" if url.startswith("OrderFulfillment") else "escalation"

    def add_letter(self, choice: str, *, bad: bool) -> None:
        self.letters[choice].visible.append("m-1")
        labels = {name: {"StringValue": text} for name, text in BAD.items()} if bad else {}
        body = json.dumps({"OrderId": "001", "ExecutionArn": ONE, **({"Reasons": 1} if bad else {})})
        self.letters[choice].parts["m-1"] = {"Body": body, "MessageAttributes": labels}
        if bad:
            self.cases["message-o-1"] = unnamed()

    def do(self, command: str, key: str) -> str:
        """Do what *command* does, if its order then goes well. Return the id to look at next."""
        match shlex.split(command):
            case ["orders", "show", other]:
                return other
            case ["orders", "dead-letters", "list", *_]:
                pass
            case ["orders", "dead-letters", verb, choice, *_]:
                if verb == "replay":
                    self._finish("001")
                self.letters[choice].visible.clear()
            case ["orders", "escalations", "resolve", case_id, action, *rest]:
                self._resolve(case_id, Action(action), rest)
            case ["orders", "cancel", order_id, *_]:
                self.orders[order_id] = replace(self.orders[order_id], status=OrderStatus.CANCELLED)
            case ["orders", "submit", *_]:
                self._finish(key)
            case ["orders", "escalate", order_id, *_]:
                self.cases[order_id] = self.cases.get(order_id) or opened(Reason.ORDER_STUCK)
                self.orders[order_id] = replace(self.orders[order_id], status=OrderStatus.ESCALATED)
            case ["orders", "requeue", order_id]:
                self._finish(order_id)
            case unknown:
                raise AssertionError(unknown)
        return key

    def _finish(self, order_id: str) -> None:
        self.orders[order_id] = Order(order_id, OrderStatus.FULFILLED, AGAIN, shipment_id="S-9")

    def _resolve(self, case_id: str, action: Action, rest: list[str]) -> None:
        shipment = rest[rest.index("--shipment-id") + 1] if "--shipment-id" in rest else None
        arn = AGAIN if action is Action.RESUBMIT else None
        request = Request(action=action, actor="ada", note="x", shipment_id=shipment, execution_arn=arn)
        known = self.cases[case_id]
        plan = plan_resolution(known, self.orders.get(known.order_id or ""), request, AT)
        assert plan.case is not None
        self.cases[case_id] = plan.case
        order_id = known.order_id or "001"
        if action is Action.RESUBMIT:
            claim = Claim(actor="ada", note="x", at=AT, episode=1, number=1, order_id=order_id, execution_arn=AGAIN)
            self.cases[case_id] = replace(plan.case, claim=claim)
            self._finish(order_id)
        elif plan.order_status is not None:
            self.orders[order_id] = replace(self.orders[order_id], status=plan.order_status)

    def left(self) -> list[str]:
        """Return what still needs somebody."""
        return [
            *(order.order_id for order in self.orders.values() if order.status not in FINAL),
            *(known.case_id for known in self.cases.values() if known.state is CaseState.OPEN),
            *itertools.chain.from_iterable(queue.visible for queue in self.letters.values()),
        ]


def opened(*reasons: Reason) -> Case:
    return case(reasons=reasons or (Reason.INVALID_PRICE,), execution_arns=(ONE,))


def unnamed() -> Case:
    found = evidence("m-0", AT, reasons=(Reason.UNDECODABLE_MESSAGE,), execution_arn=None, origin_message_id="o-1")
    reasons = (Reason.UNDECODABLE_MESSAGE,)
    return case(case_id="message-o-1", order_id=None, order=None, execution_arns=(), reasons=reasons, evidence=(found,))


def commands(step: str, choice: int) -> list[str]:
    """Return the commands of *step*: all of them in order, or the chosen one if it offers several."""
    if "if it did: " in step:
        step = step.rpartition("if it did: ")[2].split("; if not: ")[choice % 2]
    found = re.findall(r"`(orders [^`]*)`", step)
    return [found[choice % len(found)]] if ", or `" in step or "instead: " in step else found


async def follow(world: World, key: str, choice: int) -> None:
    for _ in range(10):
        step = next_step(await gather(world.stack, key), NOW)
        if step.startswith("nothing"):
            return
        todo = commands(step, choice)
        assert todo, step
        for command in todo:
            key = world.do(command, key)
    raise AssertionError(f"it never ends: {step}")


@pytest.mark.parametrize("choice", [0, 1, 2])
@pytest.mark.parametrize("letter", [None, "fulfillment", "escalation", "bad fulfillment", "bad escalation"])
@pytest.mark.parametrize("reason", [None, Reason.INVALID_PRICE, Reason.UNRECORDED_SHIPMENT])
@pytest.mark.parametrize("status", [*OrderStatus, None])
async def test_following_the_next_step_of_an_order_leaves_nothing(
    status: OrderStatus | None, reason: Reason | None, letter: str | None, choice: int
) -> None:
    world = World()
    if status is not None:
        world.orders["001"] = Order("001", status, ONE)
    if reason is not None:
        world.cases["001"] = opened(reason)
    if letter is not None:
        world.add_letter(letter.split()[-1], bad=letter.startswith("bad"))
    if world.left() or status is not None:
        await follow(world, "001", choice)
    assert world.left() == []


@pytest.mark.parametrize("choice", [0, 1, 2])
@pytest.mark.parametrize("letter", [None, "fulfillment", "escalation"])
@pytest.mark.parametrize("state", CaseState)
async def test_following_the_next_step_of_the_case_of_a_message_leaves_nothing(
    state: CaseState, letter: str | None, choice: int
) -> None:
    world = World()
    if letter is not None:
        world.add_letter(letter, bad=True)
    world.cases["message-o-1"] = replace(unnamed(), state=state)
    await follow(world, "message-o-1", choice)
    assert world.left() == []


async def test_the_case_of_a_message_leads_to_the_order_that_was_resubmitted_from_it() -> None:
    world = World()
    world.cases["message-o-1"] = unnamed()
    world.do("orders escalations resolve message-o-1 resubmit --order-id 001", "message-o-1")
    world.orders["001"] = Order("001", OrderStatus.ESCALATED, AGAIN)  # Its resubmission fails, too.
    world.cases["001"] = opened()
    await follow(world, "message-o-1", 0)
    assert world.left() == []
