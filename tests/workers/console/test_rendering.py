"""What a value becomes on a page, whatever is in it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from jinja2 import UndefinedError
from markupsafe import Markup

from tests import strategies
from workers.console.rendering import Part, age, commands, counted, environment, rate, render, seconds, stored, utc

TEMPLATES = environment()
HOSTILE = """</script><img src=x onerror=alert(1)>"'{{7*7}}<!--"""
CARD = "4111111111111111"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


ONE_VALUE = TEMPLATES.from_string("{{ value }}")


def shown(value: object, source: str = "{{ value }}", **more: Any) -> str:
    return TEMPLATES.from_string(source).render(value=value, **more)


@pytest.mark.parametrize(
    "source", ["{{ value }}", '<a title="{{ value }}">', "{{ value | default('x') }}", "{{ value ~ '' }}"]
)
def test_hostile_text_is_text(source: str) -> None:
    page = shown(HOSTILE, source)
    assert "<img" not in page
    assert "<!--" not in page
    assert "49" not in page
    assert page.count('"') == source.count('"')
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;{{7*7}}" in page


def test_hostile_text_is_text_in_every_macro() -> None:
    calls = [
        "theirs(value)",
        "copyable(value)",
        "known(value)",
        "status(value)",
        "severity(value)",
        "problem(value)",
        "loading(value)",
        "people(value)",
        "csrf_field(value)",
        "age_of(value, now)",
    ]
    for call in calls:
        page = shown(HOSTILE, f'{{% import "macros.html" as m %}}{{{{ m.{call} }}}}', now=NOW)
        assert "<img" not in page, call
        assert "onerror=alert(1)>" not in page, call


@pytest.mark.parametrize(
    "value",
    [
        CARD,
        f"card {CARD}.",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        int(CARD),
        Decimal(CARD),
        ValueError(CARD),
        [CARD],
        {"a": CARD},
    ],
)
def test_what_may_be_a_card_number_is_masked_in_every_type(value: object) -> None:
    assert CARD not in shown(value).replace(" ", "").replace("-", "")


@given(strategies.text)
def test_a_page_shows_no_control_character(text: str) -> None:
    page = ONE_VALUE.render(value=text)
    assert not [each for each in page if ord(each) < 32 and each not in "\n\t"]
    assert not set(page) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    for source in ("{{ missing }}", "{{ value.missing }}", "{% if missing %}{% endif %}"):
        with pytest.raises(UndefinedError):
            shown({}, source)


def test_nothing_is_shown_for_none_and_lines_stay() -> None:
    assert shown(None) == ""
    assert shown("a\nb") == "a\nb"
    assert shown(Markup("<b>")) == "<b>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (0, "0 ms"),
        (0.0071, "7 ms"),
        (0.09949, "99 ms"),
        (0.09951, "100 ms"),
        (0.1, "0.10 s"),
        (0.421, "0.42 s"),
        (1, "1.0 s"),
        (12.34, "12.3 s"),
        (119.9, "119.9 s"),
        (120, "2m"),
        (200, "3m"),
        (Decimal(1), "1.0 s"),
    ],
)
def test_a_length_of_time_has_a_unit(value: float | Decimal | None, text: str | None) -> None:
    assert seconds(value) == text


def test_times_and_numbers_are_written_as_by_the_commands() -> None:
    assert age("2026-11-27T11:57:00Z", NOW) == "3m"
    assert utc("2026-11-26T06:58:11.5Z") == "2026-11-26 06:58:11 UTC"
    assert (age("no time", NOW), utc("no time")) == (None, None)
    assert (counted(1, "order"), counted(1200, "order"), counted(0, "entry", "entries")) == (
        "1 order",
        "1,200 orders",
        "0 entries",
    )


def test_a_template_is_rendered_with_its_values() -> None:
    text = render(TEMPLATES, "_counts.html", {"system": None})
    assert text.strip() == ""


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ path('orders', 'a b', q='x') }}", "/orders/a%20b?q=x"),
        ("{{ '2026-11-27T11:57:00Z' | age(now) }}", "3m"),
        ("{{ '2026-11-27T11:57:00Z' | utc }}", "2026-11-27 11:57:00 UTC"),
        ("{{ now | moment }}", "2026-11-27T12:00:00.000000Z"),
        ("{{ 0.42 | seconds }}", "0.42 s"),
        ("{{ 180 | length_of_time }}", "3m"),
        ("{{ 0.25 | rate }}", "0.25"),
        ("{{ 2 | counted('order') }}", "2 orders"),
        ("{{ ['a', 'b'] | texts | join(' ') }}", "a b"),
        ("{{ ('see `orders queues`' | commands)[1].text }}", "orders queues"),
        ("{{ ('orders queues' | way_of).address }}", "/queues"),
        ("{{ 'arn:aws:states:r:a:execution:m:one' | execution_name }}", "one"),
        ("x\n  {% if true %}\n  a\n  {% endif %}\nb", "x\n  a\nb"),
    ],
)
def test_templates_have_filters(source: str, text: str) -> None:
    assert TEMPLATES.from_string(source).render(now=NOW) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, None), (0, "0"), (0.25, "0.25"), (12.34, "12.3"), (999.4, "999"), (1000, "1,000"), (1234.5, "1,234")],
)
def test_a_rate_is_short(value: float | None, text: str | None) -> None:
    assert rate(value) == text


def test_what_an_item_has_not_is_none() -> None:
    item = stored({"Name": "Ada"})
    assert item is not None
    assert (item["Name"], item["Price"], stored(None)) == ("Ada", None, None)


def test_a_sentence_has_a_capital_and_its_commands_apart() -> None:
    assert commands("look with `orders list` or `orders show`.") == [
        Part("Look with ", is_command=False),
        Part("orders list", is_command=True),
        Part(" or ", is_command=False),
        Part("orders show", is_command=True),
        Part(".", is_command=False),
    ]
    assert commands("`orders`") == [Part("orders", is_command=True)]
