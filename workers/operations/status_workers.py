"""Puts together what several sources say about workers, and about the services that they use."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from workers import clock
from workers.operations.status import (
    ServiceState,
    ServiceStatus,
    Unknowns,
    WorkerState,
    WorkerStatus,
)
from workers.operations.status_ecs import WORKERS, Outage, Outages, Service
from workers.operations.status_endpoints import Sample, service_statuses, worker_status
from workers.operations.status_metrics import FAILURES_WINDOW, Metrics
from workers.service_calls import PROVIDER

CHANNELS = "channels"


def workers_at(
    samples: Sequence[Sample], before: Sequence[Sample | None], unknowns: Unknowns
) -> tuple[list[WorkerStatus], list[ServiceStatus]]:
    """Return the workers that were asked, and the services that they use; *before* has their earlier samples."""
    workers = []
    for now, earlier in zip(samples, before, strict=True):
        status = worker_status(now, earlier)
        if status.state is WorkerState.UNKNOWN:
            unknowns.add(f"the {status.worker} worker", status.problem or "")
        elif status.state is not WorkerState.NOT_RUNNING and status.held is None:
            unknowns.add(f"outages of the {status.worker} worker", "its version does not report them")
        elif status.state is not WorkerState.NOT_RUNNING and "workers_info" not in now.values:
            unknowns.add(f"last poll and release of the {status.worker} worker", "its version does not report them")
        workers.append(status)
    named = {each.worker_name for each in samples}
    for name in WORKERS:
        if name not in named:
            unknowns.add(f"the {name} worker", "WORKER_HEALTH_URLS does not name it")
            workers.append(WorkerStatus(worker=name))
    services = service_statuses(samples)
    answered = {each.worker_name for each in samples if "workers_info" in each.values}
    for worker, service in zip(WORKERS, (PROVIDER, CHANNELS), strict=True):
        if worker not in answered:
            unknowns.add(service, f"the {worker} worker does not say")
            services.append(ServiceStatus(service=service))
    return workers, services


def workers_on_ecs(
    now: datetime,
    services: dict[str, Service] | None,
    outages: Sequence[Outages | None],
    metrics: Metrics | None,
    queues: Sequence[str],
) -> list[WorkerStatus]:
    """Return the workers as ECS, their log lines and CloudWatch show them; what could not be read is None."""
    found = []
    for worker, of_worker, queue in zip(WORKERS, outages, queues, strict=True):
        status = WorkerStatus(worker=worker)
        if services is not None:
            status = _with_tasks(status, services.get(worker))
        if of_worker is not None:
            status = _with_outage(status, of_worker.holding(now))
        if metrics is not None:
            polled_at = metrics.last_poll_at(queue)
            status = replace(
                status,
                last_poll_at=None if polled_at is None else clock.written(polled_at),
                messages_per_second=metrics.deleted_per_second(queue),
            )
            if of_worker is not None:  # Without a log group, no metric would count a failure.
                since_at = clock.written(now - FAILURES_WINDOW)
                status = replace(status, failures=metrics.failures(worker), failures_since_at=since_at)
        found.append(status)
    return found


def own_workers_on_ecs(services: Mapping[str, Service], unknowns: Unknowns) -> list[WorkerStatus]:
    """Return the workers that are not ours, as ECS shows them."""
    own = [name for name in services if name not in WORKERS]
    for name in own:
        unknowns.add(f"all but the tasks of the {name} worker", "WORKER_HEALTH_URLS does not name it")
    return [_with_tasks(WorkerStatus(worker=name), services[name]) for name in own]


def _with_tasks(status: WorkerStatus, service: Service | None) -> WorkerStatus:
    state, problem = _state(status.worker, service)
    status = replace(status, state=state, problem=problem, running=0)
    if service is None:
        return status
    return replace(status, running=service.running, desired=service.desired, release=service.release)


def _with_outage(status: WorkerStatus, outage: Outage | None) -> WorkerStatus:
    if outage is None:
        return replace(status, held=False)
    return replace(status, held=True, held_by=outage.stage, held_since_at=outage.since_at, held_reason=outage.reason)


def _state(worker: str, service: Service | None) -> tuple[WorkerState, str | None]:
    if service is None:
        return WorkerState.NOT_RUNNING, f"ECS has no service {worker}"
    if service.running:
        tasks = f"{service.running} of {service.desired} tasks run"
        return WorkerState.RUNNING, tasks if service.running < service.desired else None
    if service.pending:
        return WorkerState.STARTING, "its first task is starting"
    return WorkerState.NOT_RUNNING, f"0 of {service.desired} tasks run"


def services_on_ecs(
    now: datetime, outages: Sequence[Outages | None], metrics: Metrics | None, unknowns: Unknowns
) -> list[ServiceStatus]:
    """Return the services that log lines tell of. Nothing counts the notifications of a channel that works."""
    found = {status.service: status for each in outages if each is not None for status in each.services(now)}
    of_fulfillment, of_escalation = outages
    shipped_at = None if metrics is None else metrics.recently_fulfilled()
    if PROVIDER not in found:
        found[PROVIDER] = ServiceStatus(service=PROVIDER)
        if of_fulfillment is None:  # It may have failed since the last shipment.
            unknowns.add(PROVIDER, "the log lines of the fulfillment worker are unknown")
        elif shipped_at is not None:
            at = clock.written(shipped_at)
            found[PROVIDER] = ServiceStatus(service=PROVIDER, state=ServiceState.UP, last_success_at=at)
        elif metrics is None:
            unknowns.add(PROVIDER, "no failure is logged, and CloudWatch's metrics are unknown")
        else:
            unknowns.add(PROVIDER, "no order was fulfilled in the last 15 minutes, and no failure logged")
    if len(found) == 1:
        if of_escalation is None:
            unknowns.add(CHANNELS, "the log lines of the escalation worker are unknown")
        else:
            unknowns.add(CHANNELS, "CloudWatch shows only channels that fail, and none is known to fail")
        found[CHANNELS] = ServiceStatus(service=CHANNELS)
    return [found.pop(PROVIDER), *(found[name] for name in sorted(found))]
