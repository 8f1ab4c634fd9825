"""Says in a few words what a person can do about a case, for lists. `next_step` has the commands."""

from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason
from workers.domain.resolutions import pending_claim

# These reasons say what to do whatever the order's status is.
_STEPS = {
    Reason.UNRECORDED_SHIPMENT: "ask the provider whether it was shipped",
    Reason.UNDECODABLE_MESSAGE: "read its dead letter, then close",
}


def brief_step(case: Case, order: Order | None) -> str:
    """Return what to do about *case*, whose *order* is as it is now, and which channels have notified nobody."""
    step = _step(case, order)
    given_up = [sent.channel for sent in case.routed if sent.episode == case.episode and sent.given_up is not None]
    return f"{step}; not notified: {', '.join(dict.fromkeys(given_up))}" if given_up else step


def _step(case: Case, order: Order | None) -> str:
    if case.state is CaseState.RESOLVED:
        return "nothing"
    for reason, step in _STEPS.items():
        if reason in case.reasons:
            return step
    if pending_claim(case) is not None:
        return "wait for its resubmission"
    if order is None:
        return "resubmit or cancel" if case.order_id else "resubmit with an order id, or cancel"
    if order.is_final:
        return "close"
    return "resubmit, fulfill or cancel" if order.status is OrderStatus.ESCALATED else "wait: its order is in progress"
