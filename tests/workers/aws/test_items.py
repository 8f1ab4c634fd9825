import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer

from workers.aws.items import attributes, from_item, to_item
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


def random_value(mix: random.Random, depth: int = 0) -> Any:
    """Return a value of any kind that boto3 writes, or that it refuses."""
    texts = ["", "a", "Zo\u00eb", "\ud800", "x" * 100, "12", "None"]
    numbers = [0, 1, -1, 10**37, 10**38 - 1, 1 - 10**38, 10**38, -(10**40), Decimal("1.50"), Decimal("1E+3"), 0.5]
    others: list[Any] = [
        None,
        True,
        False,
        b"\x00\xff",
        {"a", "b"},
        {1, Decimal("2.5")},
        object(),
        OrderStatus.RECEIVED,
    ]
    kinds: list[Callable[[], Any]] = [
        lambda: mix.choice(texts),
        lambda: mix.choice(numbers),
        lambda: mix.choice(others),
        lambda: mix.choice([list, tuple])(random_value(mix, depth + 1) for _ in range(mix.randrange(4))),
        lambda: mix.choice([dict, OrderedDict])(
            (f"k{n}", random_value(mix, depth + 1)) for n in range(mix.randrange(4))
        ),
    ]
    return mix.choice(kinds[:3] if depth > 3 else kinds)()


def library_value(value: Any) -> Any:
    """Return *value* as boto3 writes it, but without None in maps and with StrEnum as text."""

    def plain(value: Any) -> Any:
        match value:
            case dict():
                return {name: plain(member) for name, member in value.items() if member is not None}
            case list() | tuple():
                return [plain(element) for element in value]
            case str():
                return str(value)
        return value

    return TypeSerializer().serialize(plain(value))


def result(convert: Callable[[Any], Any], value: Any) -> Any:
    """Return what *convert* makes of *value*, with the types of all values, or the error that it raises."""
    try:
        return types(convert(value))
    except Exception as error:  # noqa: BLE001 - errors are compared too.
        return type(error)


def types(value: Any) -> Any:
    match value:
        case dict():
            return {name: types(member) for name, member in value.items()}
        case list():
            return [types(element) for element in value]
    return type(value), repr(value)


def test_values_are_written_as_boto3_writes_them() -> None:
    mix = random.Random(14)
    for _ in range(5_000):
        value = random_value(mix)
        if value is not None:
            assert result(lambda value: to_item({"a": value})["a"], value) == result(library_value, value), value


def random_stored(mix: random.Random, depth: int = 0) -> Any:
    """Return a value in DynamoDB's JSON, or one that is not quite that."""
    texts: list[Any] = ["", "a", "\ud800", 5, None]
    numbers: list[Any] = [
        *(
            "0",
            "-0",
            "7",
            "007",
            "-12",
            "1.0",
            "1.50",
            "-0.5",
            "1E+3",
            "1e2",
            " 1",
            "1_0",
            "--1",
            "-",
            "",
            "x",
            "\u0661",
        ),
        *("9" * 38, "9" * 39, "-" + "9" * 38, "0." + "3" * 40, "NaN", "Infinity", 5, None),
    ]
    others: list[Any] = [
        *({"BOOL": True}, {"BOOL": "x"}, {"NULL": True}, {"B": b"\x00"}, {"SS": ["a"]}, {"NS": ["1"]}, {"BS": [b"a"]}),
        *({}, {"Q": "x"}, {"L": "text"}, {"M": ["x"]}, {"L": None}, {"M": 5}, "text", None, 5, ["S"], {"s": "a"}),
        *({"l": [{"N": "1"}]}, {"S": "first", "N": "1"}, {"n": "2"}),
    ]
    kinds: list[Callable[[], Any]] = [
        lambda: {"S": mix.choice(texts)},
        lambda: {"N": mix.choice(numbers)},
        lambda: mix.choice(others),
        lambda: {"L": [random_stored(mix, depth + 1) for _ in range(mix.randrange(4))]},
        lambda: {"M": {f"k{n}": random_stored(mix, depth + 1) for n in range(mix.randrange(4))}},
    ]
    return mix.choice(kinds[:3] if depth > 3 else kinds)()


def library_plain(stored: Any) -> Any:
    """Return *stored* as boto3 reads it, but with whole numbers as int."""

    def simple(value: Any) -> Any:
        match value:
            case Decimal():
                return int(value) if value == value.to_integral_value() else float(value)
            case dict():
                return {name: simple(member) for name, member in value.items()}
            case list():
                return [simple(element) for element in value]
            case set():
                return {simple(element) for element in value}
            case Binary():
                return str(cast("Any", value).value.decode(errors="replace"))
        return value

    return simple(TypeDeserializer().deserialize(stored))


def test_values_are_read_as_boto3_reads_them() -> None:
    mix = random.Random(14)
    for _ in range(5_000):
        stored = random_stored(mix)
        mine, librarys = result(lambda stored: from_item({"a": stored})["a"], stored), result(library_plain, stored)
        if isinstance(librarys, type):
            # Which of several errors comes first may differ. All of them mean an unreadable response.
            assert issubclass(mine, (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)), stored
        else:
            assert mine == librarys, stored


@dataclass(frozen=True)
class Part:
    message_id: str
    at: int | None = None


@dataclass(frozen=True)
class Whole:
    case_id: str
    cc: str
    parts: tuple[Part, ...] = ()
    part: Part | None = None


def test_a_dataclass_is_a_map_of_its_fields() -> None:
    whole = Whole("1", "****", parts=(Part("m1", 5), Part("m2")), part=Part("m3", 0))
    plain = {
        "CaseId": "1",
        "CC": "****",
        "Parts": [{"MessageId": "m1", "At": 5}, {"MessageId": "m2"}],
        "Part": {"MessageId": "m3", "At": 0},
    }
    assert from_item(attributes(whole)) == plain
    assert from_item(to_item({"whole": whole, "list": [whole]})) == {"whole": plain, "list": [plain]}
    assert attributes(Whole("1", "****")) == to_item({"CaseId": "1", "CC": "****", "Parts": []})
