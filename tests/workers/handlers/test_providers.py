import pytest

from workers.errors import FatalError
from workers.handlers.providers import load_provider


def test_record_is_no_provider() -> None:
    assert load_provider("record") is None


def test_loads_a_class_by_its_name() -> None:
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
def test_what_cannot_be_loaded_is_one_clear_line(name: str, why: str) -> None:
    with pytest.raises(FatalError) as raised:
        load_provider(name)
    assert str(raised.value).startswith(f"FULFILLMENT_PROVIDER is '{name}', which cannot be loaded: ")
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
