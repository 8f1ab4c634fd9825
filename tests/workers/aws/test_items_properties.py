"""What is stored in DynamoDB is what is read from it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unicode_text
from workers.aws.items import from_item, to_item

LARGEST = 10**38 - 1  # DynamoDB: 38 digits.
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | unicode_text,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(unicode_text, values, max_size=4),
    max_leaves=8,
)


def without_none(value: Any) -> Any:
    match value:
        case dict():
            return {name: without_none(member) for name, member in value.items() if member is not None}
        case list():
            return [without_none(element) for element in value]
        case _:
            return value


def types(value: Any) -> Any:
    match value:
        case dict():
            return {name: types(member) for name, member in value.items()}
        case list():
            return [types(element) for element in value]
        case _:
            return type(value)


@given(st.dictionaries(unicode_text, VALUES, max_size=5))
def test_values_are_the_same_there_and_back(values: dict[str, Any]) -> None:
    read = from_item(to_item(values))
    assert read == without_none(values)
    assert types(read) == types(without_none(values))  # 1 == True == 1.0


@given(
    st.floats(-1e30, 1e30).filter(lambda fraction: fraction == 0 or abs(fraction) > 1e-100),
    st.integers(-(10**30), 10**30),
)
def test_a_number_of_another_program_is_read_as_a_plain_number(fraction: float, whole: int) -> None:
    item = from_item({"fraction": {"N": f"{fraction:.20g}"}, "whole": {"N": f"{whole}.0"}, "big": {"N": f"{whole}E0"}})
    assert float(item["fraction"]) == fraction
    assert [item["whole"], item["big"]] == [whole, whole]
    assert {type(item["whole"]), type(item["big"])} == {int}
