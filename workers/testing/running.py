"""The workers of one test."""

import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from workers.testing.children import start, stop
from workers.testing.queues import Queues
from workers.testing.stack import Stack, variables
from workers.testing.tree import python_path
from workers.testing.worker import TIMEOUT_S, Worker, wait_for_line, wait_until_ready, waiting

OURS = ("fulfillment", "escalation")
# Short, so that tests are fast.
DEFAULTS = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "2", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}
STOP_S = 15.0  # What is left then is killed.
# Settings in a developer's environment, such as a provider's or a collector's address, must not reach the workers of a
# test. What a handler of theirs reads must.
NOT_INHERITED = (
    "WORKER_",
    "FULFILLMENT_",
    "ESCALATION_RULES",
    "ORDER_RETENTION_DAYS",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "OTEL_",
)

LEVELS_WITHOUT_START = ("WARNING", "ERROR")  # Those at which a worker does not say that it has started.

Environment = Mapping[str, str | int | float | Path]
Found = TypeVar("Found")


class StartWorker(Protocol):
    """
    Start a worker, which is killed after the test.

        start_worker("fulfillment")
        start_worker("shop.returns:handle", queue="Returns", env={"WORKER_MAX_ATTEMPTS": 1})

    *env* adds settings; those of your own environment are left out. It returns once the worker consumes its queue, and
    raises `AssertionError` if it ends before; with `ready=False`, at once.
    """

    def __call__(
        self, worker: str, queue: str | None = None, env: Environment | None = None, *, ready: bool = True
    ) -> Worker: ...


class WaitFor(Protocol):
    """
    Wait until any worker of this test logs *event* with *fields*, and return the line.

        wait_for("message.acknowledged", queue=..., outcome="handled")
    """

    def __call__(self, event: str, *, timeout_s: float = TIMEOUT_S, **fields: Any) -> dict[str, Any]: ...


class Running:
    """The workers of one test, on the session's stack."""

    def __init__(self, stack: Stack, queues: Queues, directory: Callable[[], Path], workers: list[Worker]) -> None:
        """Keep the logs of the workers in *directory*, and add them to *workers*."""
        self.workers = workers
        self._stack = stack
        self._queues = queues
        self._directory = directory
        self._numbers = itertools.count(1)

    def start(
        self, worker: str, queue: str | None = None, env: Environment | None = None, *, ready: bool = True
    ) -> Worker:
        __tracebackhide__ = True
        arguments, settings = self._arguments(worker, queue), DEFAULTS | _settings(worker, env or {})
        directory = self._directory()
        log_path = directory / f"worker-{next(self._numbers)}.log"
        inherited = {
            name: value
            for name, value in self._stack.worker_environment().items()
            if not name.startswith(NOT_INHERITED)
        }
        environment = inherited | variables(self._stack.outputs) | settings
        with log_path.open("ab") as log:
            process = start(
                Path(sys.executable),
                "workers",
                arguments,
                environment=environment | {"PYTHONPATH": python_path()},
                output=log,
                directory=None,  # The log stays: pytest keeps and removes its folders.
                working_directory=Path.cwd(),
            )
        started = Worker(process, log_path, worker)
        self.workers.append(started)
        if ready and settings["LOG_LEVEL"] not in LEVELS_WITHOUT_START:
            self._await_ready(started)
        return started

    def _await_ready(self, started: Worker) -> None:
        __tracebackhide__ = True
        try:
            wait_until_ready(started)
        except AssertionError:
            self.workers.remove(started)  # This reports it; a test may go on with others.
            stop(started.process, 0)
            raise

    def _arguments(self, worker: str, queue: str | None) -> list[str]:
        __tracebackhide__ = True
        if ":" in worker:
            if queue is None:
                raise ValueError(f"start_worker({worker!r}): name its queue, queue=...")
            return ["run", worker, "--queue", self._queues.name(queue)]
        if worker not in OURS:
            raise ValueError(f"start_worker({worker!r}): must be {' or '.join(map(repr, OURS))}, or 'module:handler'")
        if queue is not None:
            raise ValueError(f"start_worker({worker!r}): it consumes the queue of the stack, leave queue out")
        return [worker]

    def wait_for(self, event: str, *, timeout_s: float = TIMEOUT_S, **fields: Any) -> dict[str, Any]:
        __tracebackhide__ = True
        if fields.get("queue") in self._queues:
            fields["queue"] = self._queues.name(fields["queue"])
        return wait_for_line(self.workers, event, fields, timeout_s=timeout_s)

    def wait_until(self, look: Callable[[], Found | None], missing: Callable[[], str], timeout_s: float) -> Found:
        """Call *look* until it returns something. Raises `AssertionError` as `waiting`."""
        __tracebackhide__ = True
        for _ in waiting(self.workers, missing, timeout_s=timeout_s):
            if (found := look()) is not None:
                return found
        raise AssertionError  # `waiting` never ends by itself.

    def stop(self) -> None:
        """
        Stop all workers in order, so that what they have received goes back to the stack's queues for other tests.

        A receive of a worker that is killed would go on, and take the next message for as long as its timeout.
        """
        for worker in self.workers:
            worker.process.terminate()
        deadline_s = time.monotonic() + STOP_S
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):  # A second SIGTERM would end it at once.
                worker.process.wait(max(0.0, deadline_s - time.monotonic()))
            stop(worker.process, 0)


def _settings(worker: str, env: Mapping[str, object]) -> dict[str, str]:
    """Return settings as an environment has them."""
    __tracebackhide__ = True
    for name, value in env.items():
        if not isinstance(value, str | int | float | Path):
            raise TypeError(f"start_worker({worker!r}): env {name} is {value!r}, must be a text or a number")
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in env.items()}
