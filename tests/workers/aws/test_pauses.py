import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.answers.double import Double
from tests.strategies import unicode_characters, unicode_text
from workers.aws.pauses import MAX_VALUE_CHARS, PAUSED_TAG, RESUMED_TAG, SqsPauses, decode, encode, pause_state
from workers.consumer.pause import PauseState, Person
from workers.domain.text import clean

_ALLOWED = re.compile(r"[A-Za-z0-9 _.:/=+@-]*")
TEXTS = st.text(unicode_characters, max_size=60)


def test_the_tag_can_be_read_by_people() -> None:
    value = encode(Person("ada", "2026-11-26T21:08:18Z", "new prices, 100% (see #7)"))
    assert value == "2026-11-26T21:08:18Z/ada/new prices=2C 100=25 =28see =237=29"
    assert len(value) < MAX_VALUE_CHARS


@given(TEXTS, TEXTS)
def test_any_actor_and_note_make_a_value_that_aws_takes_and_come_back(actor: str, note: str) -> None:
    value = encode(Person(actor, "2026-11-26T21:08:18Z", note))
    assert _ALLOWED.fullmatch(value)
    assert decode(value) == Person(
        clean(actor.strip()).strip() or None, "2026-11-26T21:08:18Z", clean(note.strip()).strip() or None
    )


@given(unicode_text)
def test_a_queue_with_the_tag_is_paused_whatever_it_says(value: str) -> None:
    assert isinstance(pause_state({PAUSED_TAG: value}).paused, Person)


def test_card_numbers_and_control_characters_in_a_tag_are_not_shown() -> None:
    value = "2026-11-26/4111111111111111/=1B[31m 4111 1111 1111 1111"
    assert decode(value) == Person("****", "2026-11-26", "\ufffd[31m ****")


@pytest.mark.parametrize(
    ("value", "note"),
    [("", None), ("true", "true"), ("prices=new / ada", "prices=new / ada"), ("4111111111111111\x1b", "****\ufffd")],
)
def test_a_value_that_was_set_by_hand_is_a_note(value: str, note: str | None) -> None:
    assert decode(value) == Person(note=note)


@pytest.mark.parametrize("tags", [None, {}, {"other": "x"}, {"workers:Paused": "x"}, []])
def test_a_queue_without_the_tag_is_not_paused(tags: Any) -> None:
    assert pause_state(tags) == PauseState()


async def test_the_tag_is_read_from_the_queue() -> None:
    double: Any = Double(
        "ListQueueTags",
        {"Tags": {PAUSED_TAG: "2026-11-26T21:08:18Z/ada/new prices", RESUMED_TAG: "2026-11-26/bob", "team": "shop"}},
    )
    pauses = SqsPauses(double, "https://sqs/Orders")
    by_ada = Person("ada", "2026-11-26T21:08:18Z", "new prices")
    assert await pauses.read() == PauseState(by_ada, Person("bob", "2026-11-26"))
    double.clear()
    assert await pauses.read() == PauseState()
