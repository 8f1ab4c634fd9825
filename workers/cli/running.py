"""Runs the one coroutine of a command, and turns Ctrl-C into exit code 130."""

import asyncio
from collections.abc import Callable, Coroutine
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
