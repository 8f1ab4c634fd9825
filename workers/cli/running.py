"""Runs the one coroutine of a command, and turns Ctrl-C into exit code 130."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from workers.cli.output import InterruptedCommandError
from workers.operations.errors import OperationError

if TYPE_CHECKING:
    from workers.operations.stack import Stack

Result = TypeVar("Result")


def run(
    stack: "Stack",
    work: Coroutine[Any, Any, Result],
    *,
    interrupted: Callable[[], str] = lambda: "interrupted; the command can be repeated",
) -> Result:
    """
    Run *work* and return its result. Ctrl-C cancels *work* and waits until it ends; a second Ctrl-C does not wait.

    Raises:
        InterruptedCommandError: Ctrl-C was pressed. The text comes from *interrupted*, called once *work* has ended.
        OperationError: *work* raised it, or it explains an error of AWS or of the workers' library that *work* raised.
    """
    try:
        with _without_log_lines():
            return asyncio.run(_explaining(stack, work))
    except KeyboardInterrupt:
        raise InterruptedCommandError(interrupted()) from None


async def _explaining(stack: "Stack", work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return await work
    except (OperationError, BrokenPipeError):
        raise  # Any other `OSError` may be the SDK's: its timeouts and its errors of TLS and of proxies are.
    except Exception as error:
        from workers.operations.sdk_errors import explained  # noqa: PLC0415 - the SDK takes a while to import.

        text = await explained(error, stack)
        if text is None:
            raise
        raise OperationError(text) from error


@contextlib.contextmanager
def _without_log_lines() -> Iterator[None]:
    """Silence the workers' adapters, which log their requests: what a command prints is its own output only."""
    import structlog  # noqa: PLC0415 - takes 0.1 s to import; the adapters import it, too.

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
