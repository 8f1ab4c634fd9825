"""What a value becomes on a page, whatever is in it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from jinja2 import UndefinedError
from markupsafe import Markup

from tests import strategies
from workers.console.rendering import Part, age, commands, counted, environment, render, seconds, utc

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
        (0.421, "0.42 s"),
        (12.34, "12.3 s"),
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


def test_a_sentence_has_a_capital_and_its_commands_apart() -> None:
    assert commands("look with `orders list` or `orders show`.") == [
        Part("Look with ", is_command=False),
        Part("orders list", is_command=True),
        Part(" or ", is_command=False),
        Part("orders show", is_command=True),
        Part(".", is_command=False),
    ]
    assert commands("`orders`") == [Part("orders", is_command=True)]
