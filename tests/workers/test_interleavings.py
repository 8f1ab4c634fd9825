"""Everything that can happen to an order, interleaved at random, with processes killed at any step."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.world import ID, World
from workers.aws.case_items import case_item
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason
from workers.domain.resolutions import WORKFLOW, Action, Request
from workers.domain.submissions import submission_name
from workers.operations import cancel

STEPS = 150


def submit(world: World) -> None:
    kind = world.random.random()
    name = submission_name(ID, world.random.randint(1, 4))
    world.workflow(name, good=kind < 0.5, malformed=kind > 0.85)


def request(world: World, action: Action) -> Request:
    shipment = world.random.choice((f"S-{ID}", "S-by-hand")) if action is Action.FULFILL else None
    actor = world.random.choice(("ada", "grace"))
    return Request(action=action, actor=actor, note="why", shipment_id=shipment)


def resolve(world: World) -> None:
    case_id = world.random.choice([*world.cases, ID])
    action = world.random.choice([*Action])
    price = world.random.choice(("1", "-1")) if action is Action.RESUBMIT else None
    world.resolve(case_id, request(world, action), price)


def cancel_it(world: World) -> None:
    world.cancel(request(world, Action.CANCEL))


def repeat(world: World) -> None:
    """Deliver any message once more, perhaps while it is handled, or after it was settled."""
    queue = world.random.choice(("fulfillment", "escalation"))
    if letters := world.queues[queue]:
        world.deliver(queue, world.random.choice(letters))


def trouble(world: World) -> None:
    """Change the provider's mind about new keys, and perhaps send a bare OrderId."""
    world.accepts = not world.accepts
    if world.random.random() < 0.3:
        world.send(world.random.choice(("fulfillment", "escalation")), ID)


def deliver(world: World) -> None:
    if waiting := world.letters():
        world.deliver(*world.random.choice(waiting))


ACTS: dict[Callable[[World], None], int] = {
    submit: 4,
    resolve: 5,
    cancel_it: 1,
    World.erase: 1,
    repeat: 2,
    trouble: 1,
    deliver: 40,
}


async def live(world: World) -> None:
    """Interleave for a while, then let all messages come to their end."""
    for _ in range(STEPS):
        await world.settle()
        if world.waiting and world.random.random() < 0.75:
            world.turn(kill=world.random.random() < 0.04)
        else:
            (act,) = world.random.choices([*ACTS], weights=[*ACTS.values()])
            act(world)
    world.calm = True
    for _ in range(STEPS):
        await world.settle()
        while world.waiting:
            world.turn(kill=False)
            await world.settle()
        if not (left := world.letters()):
            return
        world.deliver(*left[0])
    raise AssertionError("the messages never end")


def is_settled(world: World, order: Order, case: Case) -> bool:
    """Return whether the end of *order* settles *case*: it is about an earlier execution, and was there to be read."""
    opener = None if case.opening is None else case.opening.execution_arn
    last = order.execution_arn or ""
    return (
        opener is not None
        and world.started[opener] < world.started.get(last, -1)
        and world.opened[case.case_id, case.episode] < world.read.get(last, "")
    )


def check_order_key(world: World, order: Order) -> None:
    """The index has the order by its status; a final one by the day it became final; an erased one not at all."""
    key, digit = world.keys_of_orders[ID], "7"
    if order.name is None:
        assert key is None, "an erased order is listed"
    elif order.is_final:
        assert key == f"{order.status}#{world.since[ID][:10]}#{digit}", "a final order is listed wrongly"
    else:
        assert key == f"{order.status}#{digit}", "an open order is listed wrongly"


def check_case_key(case: Case) -> None:
    """The index has the case by its state; a resolved one by the day of its resolution, whatever was added since."""
    key = case_item(case)["OpenKey"]["S"]
    if case.state is CaseState.OPEN:
        assert key[:-1] == "OPEN#", "an open case is listed wrongly"
    elif case.resolution_of(case.episode) is not None:
        assert key[:-1] == f"RESOLVED#{case.resolutions[-1].at[:10]}#", "a resolved case is listed wrongly"


def check(world: World) -> None:
    assert world.failure is None, repr(world.failure)
    order, case = world.orders.get(ID), world.cases.get(ID)
    executions = [execution for execution, _ in world.keys]
    assert len(executions) == len(set(executions)), "one key per execution"
    for each in world.cases.values():
        erased = order is not None and order.name is None
        copies = [each.order, *(episode.order for episode in each.episodes)]
        assert not (erased and any(copy is not None and copy.name is not None for copy in copies)), "erased data"
        assert len(set(each.message_ids)) == len(each.message_ids)
        if Reason.UNRECORDED_SHIPMENT in each.reasons and each.state is CaseState.RESOLVED:
            last = each.resolution_of(each.episode)
            assert last is not None
            assert last.actor != WORKFLOW or last.action == "merged", "an unrecorded shipment is hidden"
        check_case_key(each)
    if order is None:
        return
    check_order_key(world, order)
    if order.status is OrderStatus.ESCALATED:
        pending = case is not None and case.claim is not None
        assert pending or (case is not None and case.state is CaseState.OPEN), "an escalated order without a case"
    # A cancel command that was killed leaves a case that its repetition closes.
    ended = order.status is OrderStatus.FULFILLED or (order.status is OrderStatus.CANCELLED and not world.kills)
    if ended and case is not None and case.state is CaseState.OPEN:
        assert Reason.UNRECORDED_SHIPMENT in case.reasons or not is_settled(world, order, case), "a case is left open"
    if order.status is OrderStatus.RECEIVED:
        listed = [each for each in world.cases.values() if order.execution_arn in each.execution_arns]
        people = [resolution for each in listed for resolution in each.resolutions if resolution.actor != WORKFLOW]
        assert people or any(each.state is CaseState.OPEN for each in listed), "an order is lost"
    if not world.erased:
        evidence = (item for each in world.cases.values() for item in each.evidence)
        reported = any(Reason.UNRECORDED_SHIPMENT in item.reasons for item in evidence)
        assert reported or world.shipped <= {order.shipment_id}, "a shipment is lost"


def run(seed: int) -> World:
    world = World(Random(seed))
    with structlog.testing.capture_logs():
        asyncio.run(live(world))
    return world


@given(st.integers(0, 2**64))
def test_orders_and_cases_end_well_in_whatever_order_things_happen(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cancel, "resolve_case", lambda stack, *args: stack.world.resolve_case(stack, *args))
        world = run(seed)
    check(world)
