import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from botocore import exceptions
from botocore.exceptions import NoRegionError

from workers.cli.output import InterruptedCommandError
from workers.cli.running import run
from workers.errors import FatalError
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

STACK = Stack(environ={})


@pytest.fixture(autouse=True)
def interruptible() -> Any:
    """Handle Ctrl-C as Python does: it is ignored if the tests run in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


async def work_until_ctrl_c(done: list[int]) -> None:
    done.append(1)
    signal.raise_signal(signal.SIGINT)
    try:
        await asyncio.Event().wait()
    finally:
        done.append(2)


async def fail(error: Exception) -> None:
    raise error


def test_a_result_is_returned() -> None:
    async def work() -> int:
        return 7

    assert run(STACK, work()) == 7


def test_ctrl_c_cancels_the_work_and_reports_what_it_has_done() -> None:
    done: list[int] = []
    with pytest.raises(InterruptedCommandError, match=r"^interrupted: 2 done$") as raised:
        run(STACK, work_until_ctrl_c(done), interrupted=lambda: f"interrupted: {len(done)} done")
    assert raised.value.exit_code == 130


def test_without_such_a_report_the_command_can_be_repeated() -> None:
    with pytest.raises(InterruptedCommandError, match=r"^interrupted; the command can be repeated$"):
        run(STACK, work_until_ctrl_c([]))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (NoRegionError, "no region: set AWS_REGION, or a region in your AWS profile"),
        (
            lambda: exceptions.ProxyConnectionError(proxy_url="http://***:***@proxy.example:3128"),
            "AWS cannot be reached: proxy connection error at the proxy proxy.example:3128",
        ),
        (
            lambda: exceptions.ReadTimeoutError(endpoint_url="https://x"),
            'AWS cannot be reached: Read timeout on endpoint URL: "https://x"',
        ),
        (
            lambda: exceptions.ConnectTimeoutError(endpoint_url="https://x"),
            'AWS cannot be reached: Connect timeout on endpoint URL: "https://x"',
        ),
        (
            lambda: exceptions.SSLError(endpoint_url="https://x", error=ValueError("expired")),
            "AWS cannot be reached: SSL validation failed for https://x expired",
        ),
        (lambda: FatalError("ORDER_TABLE is wrong"), "ORDER_TABLE is wrong"),
        (lambda: OperationError("as it is"), "as it is"),
    ],
)
def test_errors_of_aws_and_the_library_are_explained(error: Callable[[], Exception], line: str) -> None:
    with pytest.raises(OperationError) as raised:
        run(STACK, fail(error()))
    assert str(raised.value) == line


def test_any_other_error_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        run(STACK, fail(ZeroDivisionError()))


def test_what_adapters_log_is_not_part_of_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> str:
        structlog.get_logger().error("aws.call_failed", reason="a plugin")
        return "done"

    before = structlog.get_config()
    assert run(STACK, work()) == "done"
    assert capsys.readouterr() == ("", "")
    assert structlog.get_config() == before
