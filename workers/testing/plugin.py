"""
The fixtures, as docs/testing.md describes them. pytest loads this module in every project that has the package.

So it imports nothing of ours before a fixture is used, and adds no option and no mark.
"""

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.testing import GetCase, GetOrder, Orders, Queues, Stack, StartWorker, WaitFor
    from workers.testing.testbed import Testbed


@pytest.fixture(scope="session")
def workers_stack(request: pytest.FixtureRequest) -> "Iterator[Stack]":
    """Deploy the stack of this session, with a name prefix of its own: `.client("sqs")`, `.order_table`."""
    from workers.testing.errors import SetupError  # noqa: PLC0415
    from workers.testing.session import session_stack  # noqa: PLC0415

    capture = request.config.pluginmanager.getplugin("capturemanager")

    def note(text: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(f"\nworkers.testing: {text}\n")
            sys.stderr.flush()

    problem = ""
    with contextlib.ExitStack() as running:
        try:
            stack = running.enter_context(session_stack(note))
        except SetupError as error:
            problem = str(error)
        if problem:  # Not above, where pytest would show the error twice.
            pytest.fail(f"workers.testing: {problem}", pytrace=False)
        yield stack


@pytest.fixture
def workers_testbed(workers_stack: "Stack", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Testbed]":
    """Hold the parts of one test; the fixtures below hand them out."""
    from workers.testing.testbed import testbed  # noqa: PLC0415

    with testbed(workers_stack, lambda: tmp_path_factory.mktemp("workers")) as made:
        yield made


@pytest.fixture
def start_worker(workers_testbed: "Testbed") -> "StartWorker":
    """Start a worker, which ends with the test: `start_worker("fulfillment")`."""
    return workers_testbed.running.start


@pytest.fixture
def wait_for(workers_testbed: "Testbed") -> "WaitFor":
    """Wait for a log line of this test's workers: `wait_for("order.fulfilled", order_id="001")`."""
    return workers_testbed.running.wait_for


@pytest.fixture
def queues(workers_testbed: "Testbed") -> "Queues":
    """Create, fill and read queues: `.create("Returns")`, `.send("Returns", "001")`, `.receive("ReturnsDLQ")`."""
    return workers_testbed.queues


@pytest.fixture
def orders(workers_testbed: "Testbed") -> "Orders":
    """Submit orders to the workflow: `.submit(price="10.00")` returns the id."""
    return workers_testbed.orders


@pytest.fixture
def order(workers_testbed: "Testbed") -> "GetOrder":
    """Wait for an order: `order("001", status="FULFILLED")`."""
    return workers_testbed.orders.get


@pytest.fixture
def case(workers_testbed: "Testbed") -> "GetCase":
    """Wait for a case: `case("001", state="OPEN")`."""
    return workers_testbed.orders.get_case
