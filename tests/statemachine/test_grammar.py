"""The grammar of an order stands twice, in JSONata for the workflow and in Python for `orders`: both must agree."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping

from jsonata import Jsonata

from tests.statemachine.test_definition import PROPER, UUID, load
from workers.domain.submissions import malformed_fields

CARD, BIKE = "4929123412345678", "\U0001f6b2"
ODD_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, 1.5, [], ["x"], [["x"]], ["x", "y"], [PROPER], {}, {"S": "x"}, int(CARD)),
    *("", " ", "\n", "\u0000", "null", "x" * 64, "x" * 65, "x" * 255, "x" * 256, "x" * 257, "x" * 5_000),
    *(BIKE * 64, BIKE * 128, BIKE * 256, BIKE * 257, "e\u0301" * 128, "\u0661", "\uff11", "\u00b2"),
    *("a\n", "a\r", "a b", ".a", "a.", '"', "\\", "$1", CARD, CARD[:12], "4929-1234-1234-5678", "1-" * 32, "1." * 32),
    *("1234567F-1234-1234-1234-12345678901F", "1234567f-1234-1234-1234-12345678901f"),
    *("12345678-1234-12341234-123456789012", "12345678-1234-1234-1234123456789012"),  # No UUIDs.
    *(UUID, UUID.upper(), f"a-{UUID}.b", f"{UUID}-{CARD}", f"1{UUID}", f"{UUID}1", CARD + UUID[8:]),
)


def an_order_id(choose: random.Random) -> str:
    """Join pieces that come near the limits of the grammar: digit runs, hyphens, UUIDs, characters of all kinds."""

    def some(characters: str, most: int) -> str:
        return "".join(choose.choices(characters, k=choose.randint(1, most)))

    def a_uuid() -> str:
        digits = (
            "0123456789" * 6 + "abcdefABCDEF_"
        )  # Mostly decimal, as a card number is; an underscore makes it no UUID.
        return "-".join("".join(choose.choices(digits, k=length)) for length in (8, 4, 4, 4, 12))

    pieces: tuple[Callable[[], str], ...] = (
        lambda: some("0123456789", 14),
        lambda: some("0123456789-", 20),
        lambda: some("abcXYZ._", 4),
        a_uuid,
        lambda: choose.choice(["", " ", "\n", "~", "\u00e9", "\uff11"]),
    )
    joined = "".join(piece() for piece in choose.choices(pieces, weights=(3, 3, 2, 1, 1), k=choose.randint(1, 6)))
    return joined if choose.random() < 0.2 else joined[:64]


def generated_orders() -> Iterator[Mapping[str, object]]:
    yield from ({name: PROPER[name] for name in PROPER if name != missing} for missing in PROPER)
    yield from (PROPER | {name: value} for name, value in itertools.product(PROPER, ODD_VALUES))
    yield from (dict.fromkeys(PROPER, value) for value in ODD_VALUES)
    choose = random.Random(1)
    for _ in range(300):
        order: dict[str, object] = {"OrderId": an_order_id(choose), "Other": choose.choice(ODD_VALUES)}
        for name in ("Name", "ItemName", "Price", "CC"):
            if choose.random() < 0.95:
                order[name] = PROPER[name] if choose.random() < 0.8 else choose.choice(ODD_VALUES)
        yield order


def test_the_grammar_in_jsonata_is_the_one_in_python() -> None:
    state = load()["States"]["Check the order"]
    *is_accepted, names_fields = (
        Jsonata(expression[2:-2].strip())
        for expression in (*(choice["Condition"] for choice in state["Choices"]), state["Assign"]["malformed"])
    )
    well_formed = 0
    for order in generated_orders():
        fields = malformed_fields(order)
        bindings = {"states": {"input": order}}
        assert [condition.evaluate(None, bindings) for condition in is_accepted] == [False, not fields], order
        assert names_fields.evaluate(None, bindings) == {
            "OrderId": None if "OrderId" in fields else order["OrderId"],
            "Detail": f"Malformed fields: {', '.join(fields)}.",
        }, order
        well_formed += not fields
    assert 60 < well_formed < 300
