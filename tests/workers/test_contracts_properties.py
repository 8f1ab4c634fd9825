"""Message bodies of any content are decoded or refused, and what workers send is what they decode."""

import json
import re
from collections.abc import Callable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import (
    any_text,
    card_numbers,
    execution_arns,
    json_texts,
    json_values,
    order_ids,
    text,
    unicode_characters,
)
from tests.workers.fakes import MESSAGE_ID, message
from workers.contracts import (
    MAX_ATTEMPTS,
    MAX_NAME_CHARS,
    OutgoingEscalation,
    Reminder,
    decode_escalation,
    decode_fulfillment,
    decode_reminder,
)
from workers.domain.cards import looks_like_card, mask
from workers.domain.characters import sendable
from workers.domain.escalations import MAX_DETAIL_CHARS, Escalation
from workers.domain.orders import is_order_id
from workers.domain.reasons import Reason, Source
from workers.errors import UndecodableError

NAMES = {
    "OrderId": order_ids | text,
    "ExecutionArn": execution_arns,
    "Resubmitted": st.booleans(),
    "Reasons": st.lists(st.sampled_from(Reason)),
    "Source": st.sampled_from(Source),
    "Detail": text | card_numbers,
    "Attempts": st.integers(-1, MAX_ATTEMPTS + 1),
    "Queue": (text | card_numbers).filter(lambda name: len(name) <= MAX_NAME_CHARS),
    "OriginMessageId": (text | card_numbers).filter(lambda name: len(name) <= MAX_NAME_CHARS),
    "CaseId": text,
    "Episode": st.integers(-1, 3),
    "Tries": st.integers(-1, 3),
}
DOCUMENTS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {}, optional={name: values | json_values for name, values in NAMES.items()}
)
ESCALATING = st.fixed_dictionaries(
    {"OrderId": order_ids, "Reasons": st.just(["UNSPECIFIED"])},
    optional={name: NAMES[name] for name in ("Detail", "Queue", "OriginMessageId", "CaseId", "Episode")},
)
HALF_PAIRS = st.text('{}" \ud800', min_size=1)
MARKS = st.text("\ufeff\u200b\u2060\u00a0\u3000 \t\r\n", max_size=4)
BARE = json_texts(DOCUMENTS, ESCALATING) | HALF_PAIRS | order_ids | st.builds("{}{}".format, order_ids, text)
BODIES = BARE | st.builds("{}{}{}".format, MARKS, BARE, MARKS)


# All words in which a body may be refused, with the rules left out. None of them comes from the body, except for the
# name of a field that is written in another way, such as `order_id`.
NEITHER = re.compile(
    r"neither a JSON object nor an OrderId: "
    r"(it is (empty|an array|a JSON string: send what is inside its quotes|not valid Unicode)"
    r"|invalid JSON, [A-Za-z ,`:\\(){}\[\]0-9-]{1,80} at line [0-9]+ column [0-9]+"
    r"|it (looks like a card number|is longer than 64 characters|does not begin with a letter or digit"
    r"|has a character that is not allowed); an OrderId must be [^;]*)"
)
FAULT = re.compile(
    r"(?P<field>[A-Za-z]+)(\[[0-9]+\])? "
    r"(is (missing|null|a boolean|a number|a string|an array|an object|empty|unknown|too (small|large|long))"
    r"|has too many elements|does not match|looks like a card number|is longer than 64 characters"
    r"|has white space around it|does not begin with a letter or digit|has a character that is not allowed"
    r'|is missing \("[A-Za-z _-]*" is another name: it must be [A-Za-z]*\)), must be [^;]*'
)


def decoded(decode: Callable[..., Any], body: str) -> Any:
    """Return what *decode* makes of *body*; None if it is refused in words that name fields only."""
    try:
        return decode(message(body))
    except UndecodableError as error:
        refused = str(error)
    if NEITHER.fullmatch(refused) is None:
        faults = [FAULT.fullmatch(fault) for fault in refused.split("; ")]
        assert all(fault is not None and fault["field"] in NAMES for fault in faults), refused
    return None


def order_id_in(body: str) -> str:
    """Return the OrderId in a body that was accepted, in the simplest way."""
    text = re.sub(r"\A(?:[\s\ufeff\u200b\u2060]|\u00ef\u00bb\u00bf)+|[\s\ufeff\u200b\u2060]+\Z", "", body)
    return str(json.loads(text)["OrderId"]) if text.startswith("{") else text


@given(BODIES)
@example("\ud800")
def test_any_body_is_decoded_or_refused_without_its_values(body: str) -> None:
    request = decoded(decode_fulfillment, body)
    if request is not None:
        assert is_order_id(request.order_id)
        assert request.order_id == order_id_in(body)
    decoded(decode_reminder, body)
    escalation = decoded(decode_escalation, body)
    if escalation is not None:
        assert escalation.message_id == MESSAGE_ID
        assert escalation.order_id is None or is_order_id(escalation.order_id)
        assert escalation.reasons
        assert len(escalation.detail or "") <= MAX_DETAIL_CHARS
        shown = (escalation.detail, escalation.queue, escalation.origin_message_id)
        assert not any(looks_like_card(text) for text in shown if text is not None)


@given(ESCALATING)
def test_a_body_with_reasons_is_an_escalation(document: dict[str, Any]) -> None:
    assert decode_reminder(message(json.dumps(document))) is None
    escalation = decode_escalation(message(json.dumps(document)))
    for field in ("Detail", "Queue", "OriginMessageId"):
        masked = sendable(mask(document[field]))[:MAX_DETAIL_CHARS] if field in document else None
        assert getattr(escalation, re.sub("(?<!^)([A-Z])", r"_\1", field).lower()) == masked


@given(order_ids)
def test_a_bare_order_id_is_a_message_of_both_queues(order_id: str) -> None:
    assert decode_fulfillment(message(order_id)).order_id == order_id
    assert decode_escalation(message(order_id)) == Escalation(
        message_id=MESSAGE_ID, order_id=order_id, reasons=(Reason.UNSPECIFIED,)
    )


OPTIONAL = st.none()
SHORT = st.text(unicode_characters, max_size=MAX_NAME_CHARS)
ESCALATIONS = st.builds(
    OutgoingEscalation,
    order_id=OPTIONAL | order_ids,
    reasons=st.lists(st.sampled_from(Reason), min_size=1, max_size=len(Reason), unique=True).map(tuple),
    source=st.sampled_from(Source),
    detail=OPTIONAL | text | st.builds("{}{}".format, st.sampled_from(["x" * 998, "\U0001f600" * 990]), card_numbers),
    execution_arn=OPTIONAL | execution_arns,
    attempts=OPTIONAL | st.integers(0, MAX_ATTEMPTS),
    queue=OPTIONAL | SHORT,
    origin_message_id=OPTIONAL | SHORT | card_numbers,
)


@given(ESCALATIONS)
def test_an_escalation_that_a_worker_sends_is_the_one_that_is_decoded(sent: OutgoingEscalation) -> None:
    assert decode_reminder(message(sent.body())) is None
    assert decode_escalation(message(sent.body())) == Escalation(
        message_id=MESSAGE_ID,
        order_id=sent.order_id,
        reasons=sent.reasons,
        source=sent.source,
        detail=None if sent.detail is None else sendable(mask(sent.detail)[:MAX_DETAIL_CHARS]),
        execution_arn=sent.execution_arn,
        attempts=sent.attempts,
        queue=None if sent.queue is None else sendable(mask(sent.queue)),
        origin_message_id=None if sent.origin_message_id is None else sendable(mask(sent.origin_message_id)),
    )


@given(st.text(unicode_characters, min_size=1), st.integers(1), st.integers(1))
def test_a_reminder_that_a_worker_sends_is_the_one_that_is_decoded(case_id: str, episode: int, tries: int) -> None:
    sent = Reminder(CaseId=case_id, Episode=episode, Tries=tries)
    assert decode_reminder(message(sent.body())) == sent


@given(any_text, st.sampled_from(["OrderId", "ExecutionArn", "Reasons", "Source", "Queue", "Attempts"]))
def test_text_in_the_wrong_place_is_refused(value: str, field: str) -> None:
    document = {"OrderId": "001", "Reasons": ["UNSPECIFIED"], field: [value]}
    assert decoded(decode_escalation, json.dumps(document)) is None


@given(BODIES, MARKS, MARKS)
def test_what_is_around_a_body_changes_nothing(body: str, before: str, after: str) -> None:
    for decode in (decode_fulfillment, decode_escalation, decode_reminder):
        assert decoded(decode, f"{before}{body}{after}") == decoded(decode, body)
