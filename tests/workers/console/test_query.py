import pytest
from multidict import MultiDict

from workers.console.query import Query, chips
from workers.console.rows import MARK_CHARS, changed, mark, marks
from workers.domain.cards import looks_like_card
from workers.operations.ages import parse_age


def test_filters_are_read_and_what_is_wrong_is_named() -> None:
    query = Query(
        MultiDict([("q", "  a "), ("s", "x"), ("s", "y"), ("s", "x"), ("s", ""), ("age", "2h"), ("bad", "2w")])
    )
    assert (query.text("q"), query.text("none")) == ("a", None)
    assert query.chosen("s", ["x", "y"]) == ["x", "y"]
    assert query.one_of("s", ["y"]) == "y"
    for name in ("age", "bad", "none"):
        query.check(name, parse_age)
    assert query.problems == {"s": "must be y", "bad": "must be a whole number and a unit: 90s, 10m, 2h or 3d"}
    assert len(Query(MultiDict(q="x" * 999)).text("q") or "") == 300


@pytest.mark.parametrize(
    ("text", "number"), [("", 7), ("3", 3), ("0", 1), ("99", 9), ("-1", 7), ("9" * 9, 9), ("1" + "0" * 9, 7), ("²", 7)]
)
def test_a_number_stays_within_its_bounds(text: str, number: int) -> None:
    assert Query(MultiDict(n=text)).number("n", 7, 9) == number


def test_each_value_has_a_chip_that_removes_it() -> None:
    given = {"none": None, "rows": 200, "status": ["A", "", "B"], "q": "x y", "stuck": True}
    made = chips("orders", given, {"status": "status", "q": "text", "stuck": "stuck"})
    assert [(chip.text, str(chip.without)) for chip in made] == [
        ("status A", "/orders?rows=200&amp;status=B&amp;q=x+y&amp;stuck=True"),
        ("status B", "/orders?rows=200&amp;status=A&amp;q=x+y&amp;stuck=True"),
        ("text x y", "/orders?rows=200&amp;status=A&amp;status=B&amp;stuck=True"),
        ("stuck", "/orders?rows=200&amp;status=A&amp;status=B&amp;q=x+y"),
    ]


def test_marks_say_how_many_rows_have_changed() -> None:
    shown = [mark("a", 1), mark("b", 1), mark("c", 1)]
    assert marks("".join(shown)) == shown
    assert changed(shown, shown) == 0
    assert changed(shown, [mark("a", 2), *shown[1:]]) == 1  # It is another one now.
    assert changed(shown, shown[1:]) == 1
    assert changed(shown, [*shown, mark("d", 1)]) == 1
    assert changed(shown, [*shown[1:], mark("d", 1)]) == 1  # One took the place of another.
    assert changed([], shown) == 3


def test_marks_are_short_and_no_address_with_them_looks_like_a_card_number() -> None:
    many = [mark("o", number) for number in range(500)]
    assert {len(each) for each in many} == {MARK_CHARS}
    assert not looks_like_card("".join(many))
    assert "".join(many).isalpha()
    assert mark("\ud800") == mark("?")  # What a person has edited in the table.
