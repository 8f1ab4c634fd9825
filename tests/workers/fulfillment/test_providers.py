import asyncio
import functools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import blocks, page
from tests.workers.fakes import order
from workers.domain.orders import Order
from workers.errors import FatalError, OutageError, TransientError
from workers.fulfillment.providers import (
    Provider,
    RejectedError,
    ThreadedProvider,
    load_provider,
    usable_shipment_id,
)


def test_record_means_no_provider() -> None:
    assert load_provider("record", concurrency=1) is None


class Async:
    async def ship(self, order: Order) -> str:
        return f"{order.order_id} in {threading.current_thread().name}"


class AsyncObject:
    """Its `ship` is an object that can be called."""

    def __init__(self) -> None:
        self.ship = self

    async def __call__(self, order: Order) -> str:
        return f"{order.order_id} in {threading.current_thread().name}"


class Plain:
    def ship(self, order: Order, *, express: bool = False) -> str:
        assert not express
        return f"{order.order_id} in {threading.current_thread().name}"


class Static:
    @staticmethod
    def ship(order: Order) -> str:
        return f"{order.order_id} in {threading.current_thread().name}"


class Partial:
    def __init__(self) -> None:
        self.ship = functools.partial(Plain().ship, express=False)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return functools.wraps(function)(call)


class Decorated:
    """An async function below a decorator that is a plain function."""

    @decorated
    async def ship(self, order: Order) -> str:
        return f"{order.order_id} in {threading.current_thread().name}"


@pytest.mark.parametrize(
    ("provider", "thread"),
    [
        (Async, "MainThread"),
        (AsyncObject, "MainThread"),
        (Plain, "provider-1"),
        (Static, "provider-1"),
        (Partial, "provider-1"),
        (Decorated, "MainThread"),
    ],
)
async def test_a_class_ships_whether_its_ship_is_async_or_not(provider: type, thread: str) -> None:
    loaded = load_provider(f"{__name__}:{provider.__name__}", concurrency=1)
    assert loaded is not None
    assert await loaded.ship(order(order_id="a")) == f"a in {thread}"


class NoShip:
    pass


class ShipIsText:
    ship = "Titanic"


class ShipsNothing:
    def ship(self) -> str:
        return "nothing"


class Yields:
    def ship(self, order: Order) -> Any:
        yield order.order_id


class YieldsAsync:
    async def ship(self, order: Order) -> Any:
        yield order.order_id


@pytest.mark.parametrize("provider", [NoShip, ShipIsText, ShipsNothing, Yields, YieldsAsync])
def test_a_class_that_does_not_ship_is_one_clear_line(provider: type) -> None:
    name = f"{__name__}:{provider.__name__}"
    with pytest.raises(FatalError) as raised:
        load_provider(name, concurrency=1)
    assert str(raised.value) == (
        f"FULFILLMENT_PROVIDER is '{name}', which is not a provider: "
        "it needs a method ship(self, order), either async or a plain function"
    )


class Blocking:
    """Blocks until it is released. Counts the calls at once."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.lock = threading.Lock()
        self.running = 0

    def ship(self, order: Order) -> str:
        with self.lock:
            self.running += 1
        self.release.wait(10)
        return order.order_id


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads set no event of the loop.
            await asyncio.sleep(0.001)


async def test_as_many_plain_calls_run_at_once_as_orders() -> None:
    blocking = Blocking()
    provider = ThreadedProvider(blocking, concurrency=100)
    calls = [asyncio.create_task(provider.ship(order(order_id=f"{n}"))) for n in range(100)]
    await until(lambda: blocking.running == 100)
    blocking.release.set()
    assert await asyncio.gather(*calls) == [f"{n}" for n in range(100)]


async def test_plain_calls_that_never_return_are_an_outage_in_the_end() -> None:
    blocking = Blocking()
    provider = ThreadedProvider(blocking, concurrency=2)
    for n in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await provider.ship(order(order_id=f"{n}"))
    with pytest.raises(OutageError, match=r"^the provider's calls do not return: all 4 threads are busy$"):
        await provider.ship(order())
    blocking.release.set()
    await until_ships(provider)


async def until_ships(provider: Provider) -> None:
    """Wait until a thread is free again."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        try:
            assert await provider.ship(order(order_id="later")) == "later"
        except OutageError:
            await asyncio.sleep(0.001)
        else:
            return
    pytest.fail("no thread became free")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module:Shop", "No module named 'no_such_module'"),
        ("collections:Shop", "has no attribute 'Shop'"),
        ("fractions:gcd", "no attribute"),
        ("datetime:date", "required argument"),
    ],
)
def test_a_provider_that_cannot_be_loaded_is_one_clear_line(name: str, why: str) -> None:
    with pytest.raises(FatalError) as raised:
        load_provider(name, concurrency=1)
    assert str(raised.value).startswith(f"FULFILLMENT_PROVIDER is '{name}', which cannot be loaded: ")
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
async def own_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """The provider that docs/providers.md shows as an example, loaded as a worker does."""
    (example,) = blocks(page("docs/providers.md"), "python")
    (tmp_path / "page_example.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "page_example", raising=False)
    provider = load_provider("page_example:Warehouse", concurrency=1)
    assert provider is not None
    return provider


async def test_the_example_on_the_page_ships_once_for_each_key(own_provider: Provider) -> None:
    orders = [order(order_id="a"), order(order_id="b"), order(order_id="a"), order(order_id="a", rejections=1)]
    assert [await own_provider.ship(shipping) for shipping in orders] == ["W-1", "W-2", "W-1", "W-3"]


@pytest.mark.parametrize(
    ("item", "error", "retry_after_s"),
    [("Anvil", RejectedError, None), ("Rocket", TransientError, 30), ("Snow", OutageError, 60)],
)
async def test_the_example_on_the_page_raises_the_documented_errors(
    own_provider: Provider, item: str, error: type[Exception], retry_after_s: float | None
) -> None:
    with pytest.raises(error) as raised:
        await own_provider.ship(order(item_name=item))
    assert getattr(raised.value, "retry_after_s", None) == retry_after_s


@pytest.mark.parametrize(
    ("provider", "threaded"), [(Async, False), (AsyncObject, False), (Plain, True), (Static, True), (Decorated, True)]
)
def test_only_a_plain_ship_runs_in_threads(provider: type, threaded: bool) -> None:
    loaded = load_provider(f"{__name__}:{provider.__name__}", concurrency=1)
    assert isinstance(loaded, ThreadedProvider) is threaded
    assert isinstance(loaded.provider if isinstance(loaded, ThreadedProvider) else loaded, provider)


class Unsigned:
    """Its `ship` is not written in Python, and has no signature."""

    ship = staticmethod(min)


def test_a_ship_without_a_signature_is_accepted() -> None:
    assert isinstance(load_provider(f"{__name__}:Unsigned", concurrency=1), ThreadedProvider)


class Failing:
    def ship(self, order: Order) -> str:
        raise ValueError(order.order_id)


async def test_an_error_of_a_plain_call_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match=r"^001$"):
        await ThreadedProvider(Failing(), concurrency=1).ship(order())


def test_a_providers_answer_is_a_shipment_id() -> None:
    assert usable_shipment_id("S-1") == "S-1"


@pytest.mark.parametrize("answer", ["", None, 7, "two words", "x" * 129, "4929123412345678"])
def test_any_other_answer_is_a_failed_attempt(answer: object) -> None:
    with pytest.raises(TransientError, match=r"^the provider answered without a usable ShipmentId$"):
        usable_shipment_id(answer)
