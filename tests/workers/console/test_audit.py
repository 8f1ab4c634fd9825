"""Who acts is asked as `orders` asks it, and each action leaves one log line without a card number."""

from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from workers.console.audit import MAX_TARGETS, NO_NOTE, FormError, Person, audit, person_of, text_field

CARD = "4929 1234 1234 5678"


def request(path: str = "/cases/002/resolve") -> web.Request:
    return make_mocked_request("POST", path)


def test_an_action_is_one_line_with_who_why_and_what_came_of_it() -> None:
    with capture_logs() as lines:
        audit(request(), action="resolve", actor="ada", note="typo", targets=["002"], outcome="1 resolved")
    assert lines == [
        {
            "event": "console.action",
            "log_level": "info",
            "action": "resolve",
            "actor": "ada",
            "note": "typo",
            "targets": ["002"],
            "target_count": 1,
            "outcome": "1 resolved",
            "page": "/cases/002/resolve",
        }
    ]


def test_what_is_wrong_in_a_form_is_a_sentence() -> None:
    assert FormError("actor", "your name must be 1 to 128 characters").sentence == (
        "Your name must be 1 to 128 characters."
    )


def test_of_many_targets_the_first_are_named_and_all_are_counted() -> None:
    with capture_logs() as lines:
        audit(request(), action="x", actor="ada", note="n", targets=[str(n) for n in range(300)], outcome="done")
    assert lines[0]["targets"] == [str(n) for n in range(MAX_TARGETS)]
    assert lines[0]["target_count"] == 300


def test_a_target_or_an_address_that_looks_like_a_card_number_is_masked() -> None:
    digits = CARD.replace(" ", "")
    with capture_logs() as lines:
        audit(request(f"/orders/{digits}/cancel"), action="x", actor="a", note="n", targets=[digits], outcome="done")
    assert digits not in str(lines)


def test_name_and_note_are_masked_when_they_are_read() -> None:
    person = person_of({"actor": f" ada {CARD} ", "note": f"card {CARD}"})
    assert person == Person("ada ****", "card ****")


@pytest.mark.parametrize("note", [{}, {"note": ""}, {"note": "  "}])
def test_a_note_is_required_only_where_orders_requires_it(note: dict[str, str]) -> None:
    assert person_of({"actor": "ada"} | note).note == NO_NOTE
    with pytest.raises(FormError, match="the note must be 1 to 1,000 characters"):
        person_of({"actor": "ada"} | note, note_required=True)


@pytest.mark.parametrize("actor", [None, "", "   ", "a" * 129, b"file"])
def test_an_actor_is_required_and_bounded(actor: Any) -> None:
    with pytest.raises(FormError, match="your name must be 1 to 128 characters") as raised:
        person_of({"actor": actor, "note": "x"})
    assert raised.value.field == "actor"


def test_a_note_is_bounded() -> None:
    assert len(person_of({"actor": "a" * 128, "note": "n" * 1000}).note) == 1000
    assert person_of({"actor": "a", "note": "n"}) == Person("a", "n")
    with pytest.raises(FormError, match="the note"):
        person_of({"actor": "a", "note": "n" * 1001})


def test_what_is_no_text_counts_as_missing() -> None:
    assert text_field({"name": cast("str", object())}, "name") == ""
    assert text_field({"name": "a\ud800"}, "name") == "a\N{REPLACEMENT CHARACTER}"
