"""How a person settles an escalation, and what that does to the order and its case."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from workers.domain.cards import looks_like_card, mask
from workers.domain.cases import Case, CaseState, Claim, Resolution
from workers.domain.escalations import MAX_RESOLUTIONS
from workers.domain.ids import fingerprint
from workers.domain.orders import MAX_SHIPMENT_ID_CHARS, Order, OrderStatus

MAX_ACTOR_CHARS, MAX_NOTE_CHARS = 128, 1_000
CLAIM_S = 120  # Longer than an execution takes to be started and to record its order, retries included.


class Action(StrEnum):
    RESUBMIT = "resubmit"
    FULFILL = "fulfill"
    CANCEL = "cancel"


class ResolutionError(Exception):
    """The case cannot be resolved like that; the text says why, for the person who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks for. `shipment_id` goes with `fulfill`, `execution_arn` with `resubmit`."""

    action: Action
    actor: str
    note: str
    shipment_id: str | None = None
    execution_arn: str | None = None

    def __post_init__(self) -> None:
        for name, text, longest in (
            ("actor", self.actor, MAX_ACTOR_CHARS),
            ("note", self.note, MAX_NOTE_CHARS),
        ):
            if not 1 <= len(text.strip()) <= longest:
                raise ResolutionError(f"the {name} must be 1 to {longest} characters")
        if self.action is Action.FULFILL and not 1 <= len((self.shipment_id or "").strip()) <= MAX_SHIPMENT_ID_CHARS:
            raise ResolutionError(f"fulfill needs a shipment id of 1 to {MAX_SHIPMENT_ID_CHARS} characters")
        if looks_like_card(self.shipment_id or ""):
            raise ResolutionError(
                "the shipment id has 13 or more digits in a row: like a card number it would be masked where it is kept"
            )

    def record(self, episode: int, at: str) -> Resolution:
        """Return what is kept of this request on the case, masked."""
        return Resolution(
            action=self.action.value,
            episode=episode,
            actor=mask(self.actor.strip()),
            note=mask(self.note.strip()),
            at=at,
            shipment_id=None if self.shipment_id is None else mask(self.shipment_id.strip()),
            execution_arn=self.execution_arn,
        )


@dataclass(frozen=True, slots=True)
class ResolutionPlan:
    """What to write, in one transaction. Both are None where it was done before."""

    case: Case | None
    order_status: OrderStatus | None


_FINAL = {Action.FULFILL: OrderStatus.FULFILLED, Action.CANCEL: OrderStatus.CANCELLED}


def plan_resolution(case: Case | None, order: Order | None, request: Request, now: str) -> ResolutionPlan:
    """
    Decide what *request* does to *case* and its *order*, both as they are now.

    `resubmit` comes here after its execution was started: it only closes the case. A case that the same person has
    resolved in the same way already is left as it is, so that a request can be repeated.

    Raises:
        ResolutionError: There is no such case, or its state or its order's does not allow this.
    """
    if case is None:
        raise ResolutionError("there is no such case")
    record = request.record(case.episode, now)
    if done := _already(case, record):
        return done
    begun = _begun(case)
    if begun is not None and order is None and request.action is not Action.RESUBMIT:
        # No order's status would tell whether the execution runs.
        _refuse_while_fresh(begun, now)
    status = _order_status(order, request, record)
    resolved = replace(case, state=CaseState.RESOLVED, updated_at=now, resolutions=_with(case, record))
    return ResolutionPlan(resolved, status)


def note_resubmission(case: Case, request: Request, episode: int, now: str) -> Case:
    """Return *case* with the resubmission out of an earlier *episode* noted; it stays open for the newer one."""
    return replace(case, updated_at=now, resolutions=_with(case, request.record(episode, now)))


def _with(case: Case, record: Resolution) -> tuple[Resolution, ...]:
    return (*case.resolutions, record)[-MAX_RESOLUTIONS:]


def _already(case: Case, record: Resolution) -> ResolutionPlan | None:
    if case.state is CaseState.OPEN:
        return None
    last = case.resolution_of(case.episode)
    if last is None or replace(record, note=last.note, at=last.at) != last:
        raise resolved_already(case)
    return ResolutionPlan(None, None)


def resolved_already(case: Case) -> ResolutionError:
    """Return the error that says who resolved *case*, when and how."""
    last = case.resolution_of(case.episode)
    by = f" by {last.actor} at {last.at}: {last.action}" if last else ""
    return ResolutionError(f"the case is resolved already{by}")


def _order_status(order: Order | None, request: Request, record: Resolution) -> OrderStatus | None:
    """Return the status the order gets, None where it is left as it is."""
    if request.action is Action.RESUBMIT:
        return None
    wanted = _FINAL[request.action]
    if order is None:
        if request.action is Action.FULFILL:
            raise ResolutionError("there is no such order to fulfill; cancel closes the case")
        return None
    match order.status:
        case OrderStatus.ESCALATED:
            return wanted
        case OrderStatus.RECEIVED:
            raise ResolutionError("the order is RECEIVED: it is being worked on, and not escalated")
        case OrderStatus.FULFILLED if wanted is OrderStatus.FULFILLED and order.shipment_id != record.shipment_id:
            raise ResolutionError(f"the order is FULFILLED already, by shipment {mask(order.shipment_id or 'unknown')}")
        case _ if order.status is wanted:
            return None  # The order is where it should be; only the case was left open.
        case _:
            raise ResolutionError(f"the order is {order.status} already")


def claim_resubmission(
    case: Case, request: Request, order_id: str, now: str, arn: Callable[[str], str]
) -> tuple[Claim, Case | None]:
    """
    Return the claim by which *request* may start an execution, and the case to write before it does (None: it has).

    The claim makes sure that who wins the case is who has started the execution. One that is a while old, and whose
    execution has not recorded its order, was left behind by a crash: another person may take over, with an execution of
    another name, so that it is clear to the end whose order it is that runs. The same person goes on with their own.

    Raises:
        ResolutionError: Somebody else, or the same person with another order, has just begun.
    """
    record, held = request.record(case.episode, now), case.claim
    number = held.number + 1 if held is not None and held.episode == case.episode else 1
    if (begun := _begun(case)) is not None:
        if is_claim_of(begun, request, order_id):
            return begun, None
        _refuse_while_fresh(begun, now)
    claim = Claim(
        actor=record.actor,
        note=record.note,
        at=now,
        episode=case.episode,
        number=number,
        order_id=order_id,
        execution_arn=arn(resubmission_name(case, case.episode, number)),
    )
    return claim, replace(case, claim=claim)


def _begun(case: Case) -> Claim | None:
    """Return the claim of the case's current episode, unless its execution has come back."""
    held = case.claim
    if held is None or held.episode != case.episode or held.execution_arn in case.execution_arns:
        return None
    return held


def _refuse_while_fresh(held: Claim, now: str) -> None:
    free_at = datetime.fromisoformat(held.at) + timedelta(seconds=CLAIM_S)
    if datetime.fromisoformat(now) < free_at:
        raise ResolutionError(
            f"{held.actor} has begun to resubmit order {held.order_id} at {held.at}: see what becomes of that;"
            f" from {free_at:%H:%M:%S} UTC on this can be tried again"
        )


def is_claim_of(claim: Claim, request: Request, order_id: str) -> bool:
    return (claim.actor, claim.order_id) == (request.record(0, "").actor, order_id)


def resubmission_name(case: Case, episode: int, number: int) -> str:
    """
    Return the name of the execution by which *case* is resubmitted out of *episode* for the time *number* says, from 1.

    The same for the same resubmission, so that repeating it starts nothing twice; and never made of the card number.
    There is a second time where an execution has come back to the case in the same episode (it could not record the
    order), or was never started. The name is made of the case, not the order: an order can be resubmitted out of two,
    its own and that of an execution without an order, and these must not take each other's for their own.
    """
    first = f"resubmission-{fingerprint(case.case_id, 26)}-{episode}"
    return first if number == 1 else f"{first}-{number}"
