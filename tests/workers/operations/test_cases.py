from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from tests.workers.domain.examples import evidence, order_copy
from tests.workers.operations.fakes import FakeClient, fake_stack
from workers.aws.case_items import case_item
from workers.aws.items import from_item, to_item
from workers.aws.sdk.clients import calling_config
from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.retention import Retention
from workers.errors import OutageError
from workers.operations.cases import Selection, find_case, read_case, read_cases, read_open_cases, read_orders, select
from workers.operations.cases import tables as stack_tables
from workers.operations.errors import OperationError
from workers.operations.stack import Stack
from workers.operations.windows import Window

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CARD = "4929123412345678"
ORDER = Order("001", OrderStatus.ESCALATED, None)


def case(case_id: str, severity: str = "warning", hour: int = 10, reason: str = "INVALID_PRICE") -> Case:
    return Case(
        case_id=case_id,
        state=CaseState.OPEN,
        severity=Severity(severity),
        opened_at=f"2026-11-22T{hour:02}:00:00.000000Z",
        updated_at="2026-11-22T11:30:00.000000Z",
        reasons=(Reason(reason),),
    )


CASES = [
    case("young", hour=11),
    case("old", hour=9),
    case("critical", "critical", 10, "WORKFLOW_FAILED"),
    case("info", "info", 8, "INVALID_CARD_NUMBER"),
]


def selected(selection: Selection) -> list[str]:
    return [case.case_id for case in select(CASES, selection, NOW)]


def test_cases_are_sorted_by_severity_then_age() -> None:
    assert selected(Selection()) == ["critical", "old", "young", "info"]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(severity="warning"), ["old", "young"]),
        (Selection(reason="WORKFLOW_FAILED"), ["critical"]),
        (Selection(older_than=timedelta(hours=2)), ["old", "info"]),
        (Selection(older_than=timedelta(hours=3)), ["info"]),
        (Selection(severity="warning", reason="WORKFLOW_FAILED"), []),
        (Selection(severity="warning", older_than=timedelta(hours=2)), ["old"]),
    ],
)
def test_a_case_must_match_every_criterion(selection: Selection, expected: list[str]) -> None:
    assert selected(selection) == expected


TOLD = replace(
    case("told"),
    order_id="o-1",
    sources=(Source.WORKFLOW,),
    merged_into="m-1",
    execution_arns=("arn:one",),
    message_ids=("id-1",),
    order=replace(order_copy("ESCALATED"), name="Ada", item_name="Lamp", price="12.50", shipment_id="S-1"),
    evidence=(
        evidence("e-1", "2026-11-22T10:00:00.000000Z", queue="Queue", detail="A detail.", origin_message_id="origin-1"),
    ),
    resolutions=(
        Resolution(
            action="fulfill",
            episode=1,
            actor="grace",
            note="as agreed",
            at="2026-11-22T11:00:00.000000Z",
            shipment_id="S-2",
        ),
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        *("TOLD", "o-1", "m-1", "invalid_price", "arn:one", "id-1", "ada", "lamp", "12.5", "s-1"),
        *("detail.", "queue", "e-1", "origin-1", "grace", "agreed", "s-2"),
    ],
)
def test_a_text_may_be_in_any_text_or_id_of_a_case(text: str) -> None:
    assert select([TOLD], Selection(text=text), NOW) == [TOLD]
    assert select([TOLD], Selection(text=f"no {text}"), NOW) == []


@pytest.mark.parametrize(
    "wanted",
    [
        {"source": "workflow"},
        {"name": "ADA"},
        {"item": "lam"},
        {"actor": "Grace"},
        {"detail": "A detail."},
        {"window": Window(NOW - timedelta(hours=2, minutes=1), NOW - timedelta(hours=1, minutes=59))},
    ],
)
def test_cases_are_selected_by_what_they_have(wanted: dict[str, Any]) -> None:
    others = [each for each in CASES if each.case_id != "critical"]
    assert select([*others, TOLD], Selection(**wanted), NOW) == [TOLD]


@pytest.mark.parametrize("wanted", [{"source": "worker"}, {"name": "lamp"}, {"actor": "ada"}, {"detail": "A detail"}])
def test_cases_without_it_are_not_selected(wanted: dict[str, Any]) -> None:
    assert select([TOLD], Selection(**wanted), NOW) == []


def test_an_unreadable_time_is_no_age() -> None:
    broken = replace(case("broken"), opened_at="yesterday")
    assert select([broken], Selection(), NOW) == [broken]
    assert select([broken], Selection(older_than=timedelta(0)), NOW) == []


@pytest.mark.parametrize("case_id", ["", "4929 1234 1234 5678", "x" * 300])
async def test_an_id_that_no_case_can_have_is_not_asked_for(case_id: str) -> None:
    with pytest.raises(OperationError, match="there is no case"):
        await read_case(Stack(environ={}), case_id)


async def test_of_many_cases_with_one_connection_an_impossible_id_is_not_asked_for_either() -> None:
    nothing: Any = None
    with pytest.raises(OperationError, match="there is no case"):
        await find_case(nothing, nothing, "")


async def test_an_endpoint_that_is_not_a_url_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"AWS_ENDPOINT_URL": "nowhere", "AWS_REGION": "us-east-1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for reading in (read_case(Stack(environment), "002"), read_open_cases(Stack(environment), Selection())):
        with pytest.raises(OperationError, match="the AWS SDK cannot make calls: Invalid endpoint: nowhere"):
            await reading


class FakeTable:
    """Items by id. An item that is an error cannot be read."""

    def __init__(self, items: dict[str, Any]) -> None:
        self.items = items

    async def get(self, item_id: str) -> Any:
        item = self.items.get(item_id)
        if isinstance(item, Exception):
            raise item
        return item

    async def open_cases(self) -> tuple[list[Case], list[str]]:
        return list(self.items.values()), ["edited"]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeTable, FakeTable]:
    """The tables of orders and of cases."""
    both = FakeTable({"001": ORDER}), FakeTable({"001": replace(case("001"), order_id="001")})
    monkeypatch.setattr("workers.operations.cases.tables", lambda _stack: nullcontext(both))
    return both


async def test_a_case_is_read_with_its_order(tables: tuple[FakeTable, FakeTable]) -> None:
    orders, cases = tables
    assert await read_case(Stack({}), "001") == (cases.items["001"], ORDER)
    orders.items.clear()
    assert await read_case(Stack({}), "001") == (cases.items["001"], None)


async def test_a_case_without_an_order_id_has_no_order(tables: tuple[FakeTable, FakeTable]) -> None:
    orders, cases = tables
    orders.items[None] = ORDER  # type: ignore[index]
    cases.items["message-1"] = case("message-1")
    assert await read_case(Stack({}), "message-1") == (case("message-1"), None)


@pytest.mark.parametrize(("case_id", "named"), [("2", "2"), ("4929\n1234\n1234\n5678", "****")])
async def test_a_case_that_does_not_exist_is_named(
    tables: tuple[FakeTable, FakeTable], case_id: str, named: str
) -> None:
    assert tables
    with pytest.raises(OperationError) as raised:
        await read_case(Stack({}), case_id)
    assert str(raised.value) == f"there is no case '{named}'; `orders escalations list` shows the open ones"


@pytest.mark.parametrize("error", [KeyError("State"), TypeError(), ValueError()], ids=repr)
@pytest.mark.parametrize("edited", [0, 1])
async def test_an_edited_case_or_order_cannot_be_read(
    tables: tuple[FakeTable, FakeTable], edited: int, error: Exception
) -> None:
    tables[edited].items["001"] = error
    with pytest.raises(OperationError) as raised:
        await read_case(Stack({}), "001")
    assert str(raised.value) == "case 001 cannot be read: it was edited in the table"


async def test_an_outage_is_not_taken_for_an_edited_case(tables: tuple[FakeTable, FakeTable]) -> None:
    tables[1].items["001"] = OutageError("down")
    with pytest.raises(OutageError):
        await read_case(Stack({}), "001")


async def test_open_cases_are_selected_counted_and_sorted(tables: tuple[FakeTable, FakeTable]) -> None:
    tables[1].items = {case.case_id: case for case in CASES}
    found = await read_open_cases(Stack({}, now=lambda: NOW), Selection(older_than=timedelta(hours=2)))
    assert [case.case_id for case in found.selected] == ["old", "info"]
    assert (found.total, found.unreadable) == (4, ["edited"])


async def test_the_orders_of_a_page_of_cases_are_read_in_one_request() -> None:
    items = [
        {"OrderId": "1", "Status": "FULFILLED"},
        {"OrderId": "2", "Status": "edited"},
        {"OrderId": "3", "Status": "ESCALATED", "CC": CARD},
    ]
    dynamodb = FakeClient(batch_get_item=lambda **_: {"Responses": {"OrderTable": [*map(to_item, items)]}})
    cases = [replace(case(f"case-{order_id}"), order_id=order_id) for order_id in ("1", "2", "3", "4", "1", None, CARD)]
    orders = await read_orders(fake_stack(dynamodb=dynamodb), cases)
    assert {order_id: order.status for order_id, order in orders.items()} == {"1": "FULFILLED", "3": "ESCALATED"}
    assert CARD not in str(orders)
    ((_, request),) = dynamodb.requests
    assert [key["OrderId"]["S"] for key in request["RequestItems"]["OrderTable"]["Keys"]] == ["1", "2", "3", "4"]


async def test_cases_without_orders_cost_no_request() -> None:
    dynamodb = FakeClient()
    assert await read_orders(fake_stack(dynamodb=dynamodb), CASES) == {}
    assert dynamodb.requests == []


class Session:
    """A session that records the clients it is asked for, or fails with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, Any]] = []

    def client(self, service: str, *, config: Any) -> Any:
        self.asked.append((service, config))
        if self.error is not None:
            raise self.error
        return nullcontext(f"client of {service}")


async def test_the_tables_of_the_stack_are_read_by_sixteen_calls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session, regions = Session(), list[str]()

    def open_session(region: str) -> Session:
        regions.append(region)
        return session

    monkeypatch.setattr("workers.operations.cases._session", open_session)
    for adapter in ("DynamoOrders", "DynamoCases"):
        monkeypatch.setattr(f"workers.operations.cases.{adapter}", lambda *given, retention: (*given, retention))
    stack = Stack({"ORDER_TABLE": "orders", "ESCALATION_TABLE": "cases", "AWS_REGION": "eu-west-1"})
    kept = Retention(90)
    async with stack_tables(stack, kept) as both:
        client = "client of dynamodb"
        assert cast("Any", both) == ((client, "orders", kept), (client, "cases", "orders", kept))
    ((service, config),) = session.asked
    connections = calling_config(16).max_pool_connections  # type: ignore[attr-defined]
    assert (service, config.max_pool_connections, regions) == ("dynamodb", connections, ["eu-west-1"])


async def test_an_internal_error_while_a_client_is_made_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.operations.cases._session", lambda _region: Session(KeyError("bug")))
    with pytest.raises(KeyError, match="bug"):
        await read_case(Stack({"AWS_REGION": "eu-west-1"}), "002")


def stack_of(*cases: dict[str, Any], orders: Sequence[dict[str, Any]] = ()) -> tuple[Stack, FakeClient]:
    """Return a stack with these items, and its DynamoDB."""
    tables = {"EscalationTable": ("CaseId", cases), "OrderTable": ("OrderId", orders)}

    def batch(**request: Any) -> Any:
        ((table, asked),) = request["RequestItems"].items()
        key, items = tables[table]
        wanted = [each[key]["S"] for each in asked["Keys"]]
        return {"Responses": {table: [to_item(item) for item in items if item[key] in wanted]}}

    dynamodb = FakeClient(batch_get_item=batch)
    return fake_stack(dynamodb=dynamodb), dynamodb


def stored(case_id: str, order_id: str | None) -> dict[str, Any]:
    return from_item(case_item(replace(case(case_id), order_id=order_id)))


async def test_many_cases_and_their_orders_are_read_with_few_requests() -> None:
    ids = [str(number) for number in range(200)]
    orders = [{"OrderId": each, "Status": "ESCALATED"} for each in ids]
    stack, dynamodb = stack_of(*(stored(each, each) for each in ids), orders=orders)
    reported = list[int]()
    found = await read_cases(stack, ids, progress=reported.append)
    assert reported == [100, 100]
    read = [(each[0].case_id, each[1] and each[1].order_id) for each in found.values() if isinstance(each, tuple)]
    assert read == [(each, each) for each in ids]
    assert len(dynamodb.requests) == 4


async def test_a_case_is_read_with_its_own_order() -> None:
    orders = [{"OrderId": each, "Status": "ESCALATED"} for each in ("1", "message-2")]
    stack, _ = stack_of(stored("execution-1", "1"), stored("message-2", None), orders=orders)
    found = await read_cases(stack, ["execution-1", "message-2"])
    read = [each[1] and each[1].order_id for each in found.values() if isinstance(each, tuple)]
    assert read == ["1", None]


async def test_what_of_many_cannot_be_read_is_named() -> None:
    orders = [{"OrderId": "3", "Status": "x"}]
    odd, wrong = stored("odd", None) | {"Severity": "odd"}, stored("wrong", None) | {"Reasons": 7}
    stack, _ = stack_of({"CaseId": "edited"}, odd, wrong, stored("3", "3"), stored("4", "4"), orders=orders)
    found = await read_cases(stack, ["2", "4929 1234 1234 5678", "edited", "odd", "wrong", "3", "4"])
    assert [str(each) for each in found.values() if isinstance(each, OperationError)] == [
        "there is no case '2'; `orders escalations list` shows the open ones",
        "there is no case '****'; `orders escalations list` shows the open ones",
        *(f"case {each} cannot be read: it was edited in the table" for each in ("edited", "odd", "wrong")),
        "the order's Status in the table is not a valid status",
    ]
    assert isinstance(found["4"], tuple)
