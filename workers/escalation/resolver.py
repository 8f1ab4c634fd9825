"""Resolves cases for a person: resubmit, fulfill, cancel, close."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from workers import clock
from workers.backoff import Backoff
from workers.domain.cases import Case, CaseState, Claim
from workers.domain.ids import execution_name
from workers.domain.orders import Order, OrderStatus
from workers.domain.resolutions import (
    CLOSES,
    Action,
    Request,
    ResolutionError,
    add_resubmission,
    already_resolved,
    check_episode,
    claim_resubmission,
    has_recorded,
    is_claim_of,
    missing_case,
    plan_resolution,
)
from workers.domain.submissions import malformed_fields
from workers.errors import ConflictError
from workers.escalation.conflicts import CONFLICT_BACKOFF, retry_conflicts
from workers.ports import Executions, Orders, ResolvableCases


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """
    Resolves cases. A repeated request has the same result as the first one.

    Every method raises `ResolutionError` if the case or its order does not allow the request.
    """

    orders: Orders
    cases: ResolvableCases
    executions: Executions
    now: Callable[[], str] = clock.now
    conflict_backoff: Backoff = CONFLICT_BACKOFF

    async def resolve(self, case_id: str, request: Request) -> None:
        """
        Fulfill the case's order by hand (no provider is called), or cancel it, and close the case; or only close it.

        If a resubmission was interrupted, it is finished first, because its execution has been started.
        """
        if request.action is Action.RESUBMIT:
            raise ResolutionError("a resubmission needs the corrected order")
        case = await self.cases.get(case_id)
        if case is not None and case.state is CaseState.OPEN:
            await self._finish_resubmission(case)
        await self._close(case_id, request)

    async def resubmit(self, case_id: str, order: Mapping[str, str], request: Request) -> str:
        """
        Start the corrected *order*, card number included, as a new execution, and close the case.

        Returns the execution's ARN. If the same actor asks again, even with another *order*, the result is the ARN from
        the first request.

        - The case is claimed first, so that if two people act at once, only one starts an execution.
        - The execution is started before the case is closed. After a crash in between, the case is still open.
        """
        if request.action is not Action.RESUBMIT:
            raise ResolutionError(f"only resubmit takes a corrected order, not {request.action}")
        execution_arn, episode = await self._claim(case_id, order, request)
        if episode is not None:
            await self.executions.start(execution_name(execution_arn), order)
            await self._close(case_id, replace(request, execution_arn=execution_arn), episode)
        return execution_arn

    @retry_conflicts
    async def _claim(self, case_id: str, order: Mapping[str, str], request: Request) -> tuple[str, int | None]:
        """
        Return the ARN of the execution for *request*, and the episode to start it for.

        The episode is None if the execution was started before.
        """
        case = await self.cases.get(case_id)
        if case is None:
            raise missing_case()
        check_episode(case, request)
        if wrong := malformed_fields(order):
            raise ResolutionError(f"malformed fields: {', '.join(wrong)}")
        order_id = order["OrderId"]
        if case.order_id is not None and order_id != case.order_id:
            raise ResolutionError(f"the case is about order {case.order_id}")
        if case.state is CaseState.RESOLVED:
            return self._earlier_execution(case, request), None
        if (finished := await self._finish_resubmission(case)) is not None:
            if is_claim_of(finished, request, order_id):
                return finished.execution_arn, None
            raise ConflictError("the case has changed")  # Read it again: now it is resolved or in its next episode.
        stored = await self.orders.get(order_id)
        if stored is not None and stored.status is not OrderStatus.ESCALATED:
            if has_recorded(case, stored):
                raise ConflictError("the interrupted resubmission has recorded the order just now")
            way_out = f"; {CLOSES}" if stored.is_final else ""
            raise ResolutionError(f"the order is {stored.status}: only an escalated order can be resubmitted{way_out}")
        claim, claimed = claim_resubmission(case, request, order_id, self.now(), self.executions.arn)
        if claimed is not None:
            await self.cases.put(claimed)
        return claim.execution_arn, claim.episode

    async def _finish_resubmission(self, case: Case) -> Claim | None:
        """
        Finish an interrupted resubmission if its execution has recorded the order: close the case in its actor's name.

        Returns the claim of that resubmission; None if there was nothing to finish.
        """
        claim = case.claim
        if claim is None or not has_recorded(case, await self.orders.get(claim.order_id)):
            return None
        request = Request(action=Action.RESUBMIT, actor=claim.actor, note=claim.note, execution_arn=claim.execution_arn)
        await self._close(case.case_id, request, claim.episode)
        return claim

    def _earlier_execution(self, case: Case, request: Request) -> str:
        """Return the ARN of the execution that resubmitted the resolved *case*, if the same actor requested it."""
        last = case.resolution_of(case.episode)
        same = last is not None and last.action == Action.RESUBMIT and last.actor == request.record(0, "").actor
        if last is None or last.execution_arn is None or not same:
            raise already_resolved(case)
        return last.execution_arn

    @retry_conflicts
    async def _close(self, case_id: str, request: Request, episode: int | None = None) -> None:
        """Resolve the case and its order. *episode* is only for a resubmission: the episode that it was claimed for."""
        case = await self.cases.get(case_id)
        order = await self._order(case)
        escalated = case is not None and request.execution_arn in case.execution_arns
        if case is not None and episode is not None and (escalated or case.episode != episode):
            # The new execution has already been escalated, so the case stays open for another resolution.
            if not case.has_resubmission(request.execution_arn):
                await self.cases.put(add_resubmission(case, request, episode, self.now()))
            return
        await self.cases.resolve(plan_resolution(case, order, request, self.now()), order)

    async def _order(self, case: Case | None) -> Order | None:
        return await self.orders.get(case.order_id) if case is not None and case.order_id is not None else None
