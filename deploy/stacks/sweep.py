"""Enables the schedule of the sweep of stuck orders once the workers know its messages."""

from collections.abc import Mapping

PARAMETER, PENDING, ENABLED = "SweepState", "PENDING", "ENABLED"
_IMAGE = "Image"


def at_first(*, is_new: bool) -> dict[str, str]:
    """Return the parameter for a new pipeline. If the system is new, there are no workers of an earlier release."""
    return {PARAMETER: ENABLED} if is_new else {}


def is_due(deployed: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """
    Return whether the pipeline with the parameters *deployed* still waits for the workers, and they were replaced now.

    *before* and *after* are the parameters of the workers' stack. An `up` without a new image leaves the old workers,
    which would send the sweep's messages to the dead-letter queue. So do workers elsewhere, if ECS had none before.
    """
    return deployed.get(PARAMETER) == PENDING and before.get(_IMAGE) not in {None, after.get(_IMAGE)}


def pending_note(deployed: Mapping[str, str]) -> str | None:
    """Return what to do while the sweep waits for the workers."""
    if deployed.get(PARAMETER) != PENDING:
        return None
    return (
        "The sweep of stuck orders is off: workers of an earlier release do not know its messages. Once workers of this"
        f" release run: python -m deploy up --parameter {PARAMETER}={ENABLED}"
    )
