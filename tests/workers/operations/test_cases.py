from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from workers.domain.cases import Case, CaseState
from workers.domain.reasons import Reason, Severity
from workers.operations.cases import Selection, read_case, read_open_cases, select
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


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
        (Selection(severity="warning", older_than=timedelta(hours=2)), ["old"]),
    ],
)
def test_a_case_must_match_every_criterion(selection: Selection, expected: list[str]) -> None:
    assert selected(selection) == expected


def test_an_unreadable_time_is_no_age() -> None:
    broken = replace(case("broken"), opened_at="yesterday")
    assert select([broken], Selection(), NOW) == [broken]
    assert select([broken], Selection(older_than=timedelta(0)), NOW) == []


@pytest.mark.parametrize("case_id", ["", "4929 1234 1234 5678", "x" * 300])
async def test_an_id_that_no_case_can_have_is_not_asked_for(case_id: str) -> None:
    with pytest.raises(OperationError, match="there is no case"):
        await read_case(Stack(environ={}), case_id)


async def test_an_endpoint_that_is_not_a_url_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"AWS_ENDPOINT_URL": "nowhere", "AWS_REGION": "us-east-1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for reading in (read_case(Stack(environment), "002"), read_open_cases(Stack(environment), Selection())):
        with pytest.raises(OperationError, match="the AWS SDK cannot make calls: Invalid endpoint: nowhere"):
            await reading
