"""
Chaos tests: real worker processes, real signals, and a fault proxy between them and the local AWS.

Each scenario has a short version, part of every test run, and a long one, marked `chaos`. `CHAOS_SEED` repeats a run's
faults and choices; `CHAOS_ORDERS` sets the number of orders in the long versions. The operating system decides how
processes interleave, so a seed repeats the conditions of a failure, but not its exact timing.
"""

import itertools
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.proxy import FaultProxy
from tests.chaos.scenario import Scenario, Size
from tests.support import DeployStack, StartWorker

LONG_TIMEOUT_S = 900
VISIBILITY_TIMEOUT_S = 5

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """The seed of the whole run: `CHAOS_SEED`, or a random one. It is printed in both cases."""
    seed = int(os.environ.setdefault("CHAOS_SEED", str(random.SystemRandom().randrange(1_000_000))))
    _say(request, f"CHAOS_SEED={seed}")
    return seed


@pytest.fixture(
    params=[
        pytest.param("short", id="short"),
        pytest.param("long", id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(LONG_TIMEOUT_S)]),
    ]
)
def size(request: pytest.FixtureRequest) -> Size:
    return Size.long() if request.param == "long" else Size.short()


@pytest.fixture
def scenario(
    request: pytest.FixtureRequest,
    chaos_seed: int,
    deploy_stack: DeployStack,
    start_worker: StartWorker,
    tmp_path: Path,
) -> Iterator[Scenario]:
    """A separate stack, proxy and random generator; short unless the test uses the fixture `size`."""
    chosen = request.getfixturevalue("size") if "size" in request.fixturenames else Size.short()
    name = request.node.name
    seed = random.Random(f"{chaos_seed} {name}").randrange(2**32)
    stack = deploy_stack(f"chaos-{next(_numbers)}-")
    began_s = time.monotonic()
    with FaultProxy(stack.local_aws.endpoint, seed) as proxy:
        scenario = Scenario(
            name=name,
            seed=seed,
            size=chosen,
            stack=stack,
            proxy=proxy,
            directory=tmp_path,
            start_worker=start_worker,
        )
        scenario.set_visibility_timeout(VISIBILITY_TIMEOUT_S)
        yield scenario
        for worker in scenario.workers:
            worker.kill()
    delivered = len({delivery.message_id for delivery in proxy.deliveries})
    _say(
        request,
        f"{name}: {delivered} messages, {len(proxy.requests)} requests in {time.monotonic() - began_s:.1f} s, "
        f"faults {proxy.faults() or 'none'}",
    )


def _say(request: pytest.FixtureRequest, text: str) -> None:
    """Print in spite of pytest's capturing: a run that never ends needs its seed most."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"chaos: {text}")
