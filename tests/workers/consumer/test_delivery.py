import ast
import asyncio
from pathlib import Path

import pytest

import workers.consumer
from tests.workers.consumer.fakes import message
from workers.consumer.delivery import Cancellation, Delivery, DeliveryState
from workers.consumer.message import Acknowledged, DeadLettered, Released, Settlement

PACKAGE = Path(next(iter(workers.consumer.__path__)))


def received() -> Delivery:
    return Delivery(message=message("m", "r1"), receipt_handle="r1", received_at_s=0.0, visible_at_s=60.0)


async def with_task(delivery: Delivery) -> asyncio.Task[None]:
    task = asyncio.create_task(asyncio.sleep(60))
    delivery.assign(task)
    return task


async def is_cancelled(task: asyncio.Task[None]) -> bool:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelled = task.cancelled()
    task.cancel()
    return cancelled


def test_is_received_held_running_and_settled_in_turn() -> None:
    delivery = received()
    states = [delivery.state]
    for change in (
        delivery.start,
        lambda: delivery.begin_handling(1.0),
        lambda: delivery.end_handling(2.0),  # An outage: the gate holds it and calls again.
        lambda: delivery.begin_handling(3.0),
        lambda: delivery.end_handling(4.0),
        lambda: delivery.settle(Acknowledged("handled")),
    ):
        change()
        states.append(delivery.state)
    assert states == [
        DeliveryState.RECEIVED,
        DeliveryState.HELD,
        DeliveryState.RUNNING,
        DeliveryState.HELD,
        DeliveryState.RUNNING,
        DeliveryState.HELD,
        DeliveryState.SETTLING,
    ]


def test_only_a_running_call_counts_as_handling_time() -> None:
    delivery = received()
    assert delivery.running_for_s(10.0) == 0
    assert delivery.end_handling(10.0) == 0
    delivery.begin_handling(10.0)
    assert delivery.running_for_s(12.0) == 2.0
    assert delivery.end_handling(13.0) == 3.0
    assert delivery.running_for_s(20.0) == 0


@pytest.mark.parametrize("reason", Cancellation)
async def test_cancelling_cancels_its_task_and_says_why(reason: Cancellation) -> None:
    delivery = received()
    task = await with_task(delivery)
    assert delivery.cancellation is None
    delivery.cancel(reason)
    assert delivery.cancellation is reason
    assert await is_cancelled(task)


async def test_cancelling_leaves_the_task_of_a_settled_message_alone() -> None:
    delivery = received()
    task = await with_task(delivery)
    delivery.settle(Acknowledged("handled"))
    delivery.cancel(Cancellation.RECEIPT_LOST)
    assert not await is_cancelled(task)


@pytest.mark.parametrize("other", [Cancellation.TIMED_OUT, Cancellation.STOPPING])
def test_a_lost_receipt_outranks_other_reasons_until_it_is_renewed(other: Cancellation) -> None:
    delivery = received()
    delivery.cancel(other)
    delivery.cancel(Cancellation.RECEIPT_LOST)
    assert delivery.cancellation is Cancellation.RECEIPT_LOST
    delivery.renew_receipt("r2", 120.0)
    assert delivery.cancellation is other


@pytest.mark.parametrize(
    ("settlement", "needed"),
    [
        (None, True),
        (Acknowledged("handled"), True),
        (DeadLettered("undecodable"), True),
        (Released("transient"), False),
    ],
)
def test_it_needs_extension_until_it_is_released_or_its_receipt_is_lost(
    settlement: Settlement | None, *, needed: bool
) -> None:
    delivery = received()
    if settlement is not None:
        delivery.settle(settlement)
    assert delivery.needs_extension is needed
    delivery.cancel(Cancellation.RECEIPT_LOST)
    assert not delivery.needs_extension
    delivery.renew_receipt("r2", 120.0)
    assert delivery.needs_extension is needed


def test_an_extension_never_shortens_the_time_it_is_invisible() -> None:
    delivery = received()
    delivery.extend(100.0)
    delivery.extend(90.0)
    assert delivery.visible_at_s == 100.0


def test_the_newest_receipt_replaces_handle_and_time() -> None:
    delivery = received()
    delivery.renew_receipt("r2", 30.0)
    assert (delivery.receipt_handle, delivery.visible_at_s) == ("r2", 30.0)


def assigned_elsewhere(path: Path, names: set[str]) -> list[str]:
    """Return the statements of a module that assign, or delete, one of these attributes of anything but `self`."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [
        f"{path.name}:{node.lineno} {node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and node.attr in names
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]


def test_only_its_own_methods_change_a_delivery() -> None:
    modules = [path for path in PACKAGE.glob("*.py") if path.name != "delivery.py"]
    assert {"in_flight.py", "consumer.py", "visibility.py", "acknowledger.py"} <= {path.name for path in modules}
    assert [found for path in modules for found in assigned_elsewhere(path, set(Delivery.__slots__))] == []


def test_a_change_from_outside_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "delivery.settlement = None\ndelivery.visible_at_s += 1\na, self.known.receipt_handle = 1, 2\n"
        "del delivery.context\nself.settlement = None\nprint(delivery.settlement)\n",
        encoding="utf-8",
    )
    assert sorted(assigned_elsewhere(module, set(Delivery.__slots__))) == [
        "module.py:1 settlement",
        "module.py:2 visible_at_s",
        "module.py:3 receipt_handle",
        "module.py:4 context",
    ]
