from tests.workers.domain.examples import case, evidence
from workers.domain.reasons import Reason, Severity
from workers.operations.groups import DetailGroup, grouped_by_detail

EARLIER, LATER = "2026-11-22T09:00:00.000000Z", "2026-11-22T10:00:00.000000Z"


def test_cases_with_the_same_reason_and_detail_are_one_group() -> None:
    price = evidence("m1", EARLIER, reasons=(Reason.INVALID_PRICE,), detail="bad price")
    stuck = evidence("m2", LATER, reasons=(Reason.ORDER_STUCK, Reason.INVALID_PRICE), detail="too long")
    groups = grouped_by_detail(
        [
            case(reasons=(Reason.INVALID_PRICE,), evidence=(price,), opened_at=LATER),
            case(reasons=(Reason.INVALID_PRICE,), evidence=(price,), opened_at=EARLIER, severity=Severity.CRITICAL),
            case(reasons=(Reason.INVALID_PRICE,), evidence=(price, stuck), opened_at=LATER),
            case(reasons=(Reason.UNSPECIFIED,), evidence=(price,), opened_at=LATER),
        ]
    )
    assert groups == [
        DetailGroup("INVALID_PRICE", "bad price", 2, Severity.CRITICAL, EARLIER),
        DetailGroup("INVALID_PRICE", "too long", 1, Severity.WARNING, LATER),
        DetailGroup("UNSPECIFIED", None, 1, Severity.WARNING, LATER),
    ]
