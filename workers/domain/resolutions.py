"""How a person resolves a case, and what that does to its order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from workers import clock
from workers.domain.bounds import bounded
from workers.domain.cards import looks_like_card, mask
from workers.domain.cases import Case, CaseState, Claim, Resolution
from workers.domain.characters import sendable
from workers.domain.ids import fingerprint
from workers.domain.orders import MAX_SHIPMENT_ID_CHARS, Order, OrderStatus, is_shipment_id
from workers.domain.reasons import Reason

MAX_ACTOR_CHARS, MAX_NOTE_CHARS = 128, 1_000
CLOSES = "close closes its case"  # What a refusal points to if the order is final.
WORKFLOW = "workflow"  # The actor of a resolution that no person made.
CLAIM_S = 120  # Longer than an execution takes to start and to record its order, retries included.


class Action(StrEnum):
    RESUBMIT = "resubmit"
    FULFILL = "fulfill"
    CANCEL = "cancel"
    CLOSE = "close"


class ResolutionError(Exception):
    """The case cannot be resolved in this way. The text tells the person why."""


class AlreadyResolvedError(ResolutionError):
    """Another person has resolved the case, or the same person in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    A person's request to resolve a case. `shipment_id` is for `fulfill`, `execution_arn` for `resubmit`.

    With an `episode`, it is only about that one: what the person has seen of the case.
    """

    action: Action
    actor: str
    note: str
    shipment_id: str | None = None
    execution_arn: str | None = None
    episode: int | None = None

    def __post_init__(self) -> None:
        for name, text, max_chars in (
            ("actor", self.actor, MAX_ACTOR_CHARS),
            ("note", self.note, MAX_NOTE_CHARS),
        ):
            if not 1 <= len(text.strip()) <= max_chars:
                raise ResolutionError(f"the {name} must be 1 to {max_chars} characters")
        if looks_like_card(self.shipment_id or ""):
            raise ResolutionError(
                "the shipment id has 13 or more digits in a row: it would be masked like a card number"
            )
        if self.action is Action.FULFILL and not is_shipment_id((self.shipment_id or "").strip()):
            raise ResolutionError(
                f"fulfill needs a shipment id of 1 to {MAX_SHIPMENT_ID_CHARS} visible ASCII characters, without spaces"
            )

    def record(self, episode: int, at: str) -> Resolution:
        """
        Return the resolution that the case stores for this request, masked.

        Bytes that are not UTF-8 reach a command as halves of surrogate pairs, which DynamoDB refuses.
        """
        return Resolution(
            action=self.action.value,
            episode=episode,
            actor=mask(sendable(self.actor.strip())),
            note=mask(sendable(self.note.strip())),
            at=at,
            shipment_id=None if self.shipment_id is None else mask(self.shipment_id.strip()),
            execution_arn=self.execution_arn,
        )


@dataclass(frozen=True, slots=True)
class ResolutionPlan:
    """What to write in one transaction. If `case` is None: nothing. If only `order_status` is None: the case."""

    case: Case | None
    order_status: OrderStatus | None


_FINAL = {Action.FULFILL: OrderStatus.FULFILLED, Action.CANCEL: OrderStatus.CANCELLED}


def plan_resolution(case: Case | None, order: Order | None, request: Request, now: str) -> ResolutionPlan:
    """
    Decide what *request* does to *case* and its *order* as they are now (None: missing).

    For `resubmit`, the execution was already started, so this only closes the case. If the same person has already
    resolved the case in the same way, nothing changes: a request can be repeated.

    Raises:
        ResolutionError: The case is missing, or its state or its order's status does not allow this.
    """
    if case is None:
        raise missing_case()
    check_episode(case, request)
    record = request.record(case.episode, now)
    if case.state is CaseState.RESOLVED:
        _check_same_resolution(case, record)
        return ResolutionPlan(None, None)
    claim = pending_claim(case)
    if claim is not None and order is None and request.action is not Action.RESUBMIT:
        # Without an order, no status shows whether the claimed execution is running.
        _refuse_while_recent(claim, now)
    status = _order_status(order, request, record)
    return ResolutionPlan(resolved(case, record, now), status)


def add_resubmission(case: Case, request: Request, episode: int, now: str) -> Case:
    """Return *case* with a resubmission from an earlier *episode* added. The case stays open for its newer episode."""
    return _with_resolution(case, request.record(episode, now), now)


def close_finished(case: Case | None, order: Order | None, execution_arn: str | None, now: str) -> Case | None:
    """
    Return *case* closed, because a later execution has finished its *order*; None if nothing changes.

    *execution_arn* is the execution that the report names, None for the order's current one. A final order keeps its
    execution, so a late or repeated report finds the same one, and its resolution.

    - A person's own resubmission is closed in that person's name, as they would have closed it themselves.
    - An episode that the same execution opened is not about an earlier one: it is left to a person. So is a shipment
      that could not be recorded: the end of the order does not settle it.
    """
    if case is None or order is None or not order.is_final or not order.belongs_to(execution_arn):
        return None
    execution_arn = order.execution_arn
    opened_by_it = case.opening is not None and case.opening.execution_arn == execution_arn
    reported_before = execution_arn is not None and case.has_resubmission(execution_arn)
    unrecorded = Reason.UNRECORDED_SHIPMENT in case.reasons
    if case.state is CaseState.RESOLVED or opened_by_it or reported_before or unrecorded:
        return None
    record = Resolution(
        action="resubmitted" if order.status is OrderStatus.FULFILLED else "cancelled",
        episode=case.episode,
        actor=WORKFLOW,
        note=f"The order was resubmitted, and is {order.status}.",
        at=now,
        execution_arn=execution_arn,
    )
    claim = case.claim
    if claim is not None and claim.execution_arn == execution_arn:
        record = replace(record, action=Action.RESUBMIT.value, actor=claim.actor, note=claim.note)
    return resolved(case, record, now)


def resolved(case: Case, record: Resolution, now: str) -> Case:
    """Return *case* closed, with *record* added."""
    return replace(_with_resolution(case, record, now), state=CaseState.RESOLVED)


def _with_resolution(case: Case, record: Resolution, now: str) -> Case:
    return bounded(replace(case, updated_at=now, resolutions=(*case.resolutions, record)))


def _check_same_resolution(case: Case, record: Resolution) -> None:
    last = case.resolution_of(case.episode)
    if last is None or replace(record, note=last.note, at=last.at) != last:
        raise already_resolved(case)


def missing_case() -> ResolutionError:
    return ResolutionError("the case does not exist")


def check_episode(case: Case, request: Request) -> None:
    """Raise `ResolutionError` if *request* is about an earlier episode of *case*."""
    if request.episode is not None and request.episode != case.episode:
        raise ResolutionError(
            f"the case has been opened again meanwhile, for {', '.join(case.reasons)}: look at it first"
        )


def already_resolved(case: Case) -> AlreadyResolvedError:
    """Return the error that says who resolved *case*, when and how."""
    last = case.resolution_of(case.episode)
    by = f" by {last.actor} at {clock.shown(last.at)}: {last.action}" if last else ""
    return AlreadyResolvedError(f"the case is already resolved{by}")


def _order_status(order: Order | None, request: Request, record: Resolution) -> OrderStatus | None:
    """Return the order's new status, or None if its status does not change."""
    if request.action is Action.RESUBMIT:
        return None
    if request.action is Action.CLOSE:
        if order is not None and order.status is OrderStatus.ESCALATED:
            raise ResolutionError(
                "the order is ESCALATED: resubmit, fulfill or cancel it; close would leave it waiting"
            )
        return None
    final = _FINAL[request.action]
    if order is None:
        if request.action is Action.FULFILL:
            raise ResolutionError("the order does not exist and cannot be fulfilled; cancel closes the case")
        return None
    match order.status:
        case OrderStatus.ESCALATED:
            return final
        case OrderStatus.RECEIVED:
            raise ResolutionError("the order is RECEIVED: it is in progress, not escalated")
        case OrderStatus.FULFILLED if final is OrderStatus.FULFILLED and order.shipment_id != record.shipment_id:
            shipment = mask(order.shipment_id or "unknown")
            raise ResolutionError(f"the order is already FULFILLED, by shipment {shipment}; {CLOSES}")
        case _ if order.status is final:
            return None  # The order has that status already; only the case is still open.
        case _:
            raise ResolutionError(f"the order is already {order.status}; {CLOSES}")


def claim_resubmission(
    case: Case, request: Request, order_id: str, now: str, arn: Callable[[str], str]
) -> tuple[Claim, Case | None]:
    """
    Return the claim for *request*, and the case to write before its execution is started (None: already written).

    Because of the claim, the person who resolves the case is the person whose execution was started. *arn* returns the
    ARN of an execution from its name.

    - If the same person tries again with the same order, their own claim stays valid.
    - A crash leaves a claim behind. If it is older than `CLAIM_S` and its execution has not recorded the order, another
      person may take over. Their execution has another name, so that it is always clear whose order is running.

    Raises:
        ResolutionError: Another person, or the same person with another order, has just begun to resubmit.
    """
    record, last = request.record(case.episode, now), case.claim
    number = last.number + 1 if last is not None and last.episode == case.episode else 1
    if (pending := pending_claim(case)) is not None:
        if is_claim_of(pending, request, order_id):
            return pending, None
        _refuse_while_recent(pending, now)
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


def pending_claim(case: Case) -> Claim | None:
    """Return the claim of the current episode, unless its execution was escalated to this case already."""
    claim = case.claim
    if claim is None or claim.episode != case.episode or claim.execution_arn in case.execution_arns:
        return None
    return claim


def has_recorded(case: Case, stored: Order | None) -> bool:
    """Return whether an interrupted resubmission of *case* has recorded the order, which is *stored* now."""
    claim = case.claim
    if claim is None or stored is None or case.has_resubmission(claim.execution_arn):
        return False
    return stored.execution_arn == claim.execution_arn


def _refuse_while_recent(claim: Claim, now: str) -> None:
    free_at = clock.parse(claim.at) + timedelta(seconds=CLAIM_S)
    if clock.parse(now) < free_at:
        raise ResolutionError(
            f"{claim.actor} began to resubmit order {claim.order_id} at {clock.shown(claim.at)}: wait for the result,"
            f" or try again from {free_at:%H:%M:%S} UTC"
        )


def is_claim_of(claim: Claim, request: Request, order_id: str) -> bool:
    """Return whether *claim* was made by the person of *request*, and for the order *order_id*."""
    return (claim.actor, claim.order_id) == (request.record(0, "").actor, order_id)


def resubmission_name(case: Case, episode: int, number: int) -> str:
    """
    Return the name of the execution that resubmits *case* from *episode* for the *number*-th time, counted from 1.

    - The name is the same each time, so that a repeated resubmission does not start twice.
    - It is never derived from the card number.
    - It is derived from the case, not the order. An order can be resubmitted from two cases: from its own, and from the
      case of an execution without an order. Neither case must mistake the other's execution for its own.
    - *number* is above 1 if, in the same episode, an earlier execution was escalated to the case (it could not record
      the order) or was never started.
    """
    first = f"resubmission-{fingerprint(case.case_id, 26)}-{episode}"
    return first if number == 1 else f"{first}-{number}"
