import sys
from pathlib import Path

import pytest

from tests.docs.pages import blocks, page
from tests.workers.fakes import order
from workers.errors import FatalError, OutageError, TransientError
from workers.fulfillment.providers import Provider, RejectedError, load_provider


def test_record_means_no_provider() -> None:
    assert load_provider("record") is None


def test_a_class_is_loaded_by_its_name() -> None:
    assert type(load_provider("collections:OrderedDict")).__name__ == "OrderedDict"


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
        load_provider(name)
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
    provider = load_provider("page_example:Warehouse")
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
