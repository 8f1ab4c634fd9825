from tests.workers.fakes import NOW
from workers.domain.cases import Case, CaseState
from workers.domain.reasons import Severity
from workers.escalation.stuck_orders import find_stuck


class Index:
    def __init__(self, *order_ids: str) -> None:
        self.order_ids = order_ids

    async def received_before(self, at: str) -> list[str]:
        assert at == NOW
        return list(self.order_ids)


class Cases:
    def __init__(self, **states: CaseState) -> None:
        self.cases = {
            case_id: Case(case_id=case_id, state=state, severity=Severity.WARNING, opened_at=NOW, updated_at=NOW)
            for case_id, state in states.items()
        }

    async def get(self, case_id: str) -> Case | None:
        return self.cases.get(case_id)


async def test_an_order_without_an_open_case_is_stuck() -> None:
    cases = Cases(open=CaseState.OPEN, resolved=CaseState.RESOLVED)
    assert await find_stuck(Index("open", "resolved", "none"), cases, since_before=NOW) == ["resolved", "none"]
    assert await find_stuck(Index(), cases, since_before=NOW) == []
