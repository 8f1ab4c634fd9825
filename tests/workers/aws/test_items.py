from decimal import Decimal

from workers.aws.items import from_item, to_item
from workers.domain.orders import OrderStatus


def test_values_are_converted_there_and_back() -> None:
    values = {
        "text": "Zo\u00eb",
        "empty": "",
        "number": 5,
        "big": 10**30,
        "true": True,
        "list": ["a", 1, {"deep": [False]}],
        "map": {"a": {"b": "c"}},
        "nothing": [],
    }
    assert from_item(to_item(values)) == values


def test_none_is_left_out_at_any_depth() -> None:
    assert to_item({"a": None, "b": {"c": None, "d": [{"e": None}]}}) == {"b": {"M": {"d": {"L": [{"M": {}}]}}}}


def test_enums_and_tuples_are_stored_as_text_and_lists() -> None:
    assert to_item({"Status": OrderStatus.RECEIVED, "Reasons": ("A", "B")}) == {
        "Status": {"S": "RECEIVED"},
        "Reasons": {"L": [{"S": "A"}, {"S": "B"}]},
    }


def test_whole_numbers_are_converted_to_int() -> None:
    item = from_item({"whole": {"N": "5"}, "half": {"N": "0.5"}, "list": {"L": [{"N": "7"}]}})
    assert item == {"whole": 5, "half": 0.5, "list": [7]}
    assert not any(isinstance(value, Decimal) for value in (item["whole"], item["half"], item["list"][0]))
