"""Whatever a provider answers, an order is shipped, refused or tried again, and the reason is safe to log."""

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import card_numbers, digit_text, json_texts, json_values, matching, text
from tests.workers.fakes import NO_WAIT, order
from tests.workers.fulfillment.provider_server import provider_server, reply
from workers.domain.cards import looks_like_card
from workers.domain.orders import is_shipment_id
from workers.errors import MAX_RETRY_AFTER_S, OutageError, TransientError
from workers.fulfillment.http_provider import MAX_EVIDENCE_CHARS, MAX_RESPONSE_BYTES, HttpProvider, http_session
from workers.fulfillment.providers import RejectedError, usable_shipment_id


def shipped(status: int, body: bytes, retry_after: str | None = None) -> str | Exception:
    """Ship an order with a provider that gives this answer, and return the result."""

    async def ship() -> str | Exception:
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        async with provider_server() as server, http_session(1) as session:
            server.otherwise = reply(status, body, **headers)
            try:
                return await HttpProvider(session, server.url, timeout_s=30, retry_backoff=NO_WAIT).ship(order())
            except (RejectedError, TransientError, OutageError) as error:
                return error

    return asyncio.run(ship())


STATUSES = st.just(200) | st.sampled_from(
    [201, 299, 300, 302, 400, 401, 403, 404, 407, 408, 409, 422, 425, 429, 500, 503, 599]
)
DOCUMENTS = st.fixed_dictionaries(
    {}, optional={"ShipmentId": st.sampled_from(["S-1", "x" * 128, "x" * 129, "", "a b"]) | text, "Error": text}
)
BODIES = (
    DOCUMENTS.map(lambda document: json.dumps(document).encode())
    | json_texts(DOCUMENTS).map(lambda body: body.encode(errors="replace"))
    | digit_text.map(str.encode)
    | st.binary()
)


@given(STATUSES, BODIES)
def test_any_answer_ships_the_order_or_says_why_not(status: int, body: bytes) -> None:
    result = shipped(status, body)
    if isinstance(result, str):
        assert 200 <= status < 300
        assert is_shipment_id(result)
        return
    reason = str(result)
    assert f"HTTP {status}" in reason
    assert reason.isprintable()
    assert not looks_like_card(reason)
    assert len(reason) < MAX_EVIDENCE_CHARS + 150
    kinds = {RejectedError: {400, 404, 422}, OutageError: {300, 302, 401, 403, 407, 429, 503}}
    (expected,) = [kind for kind, statuses in kinds.items() if status in statuses] or [TransientError]
    assert isinstance(result, expected)


@given(st.integers(MAX_EVIDENCE_CHARS - 2, MAX_EVIDENCE_CHARS + 2))
def test_a_long_answer_is_cut_and_a_shorter_one_is_not(size: int) -> None:
    reason = str(shipped(400, b"x" * size))
    assert reason == f"HTTP 400: {'x' * min(size, MAX_EVIDENCE_CHARS)}{'...' if size > MAX_EVIDENCE_CHARS else ''}"


@given(st.integers(-2, 2))
def test_an_answer_that_is_too_large_ships_nothing(difference: int) -> None:
    body = b'{"ShipmentId": "S-1"}'.ljust(MAX_RESPONSE_BYTES + difference)
    assert (shipped(200, body) == "S-1") is (difference <= 0)


@given(st.text("!~a ", max_size=3) | st.integers(126, 130).map("x".__mul__) | card_numbers | json_values)
def test_a_providers_answer_is_a_shipment_id_or_an_error(answer: object) -> None:
    if is_shipment_id(answer):
        assert usable_shipment_id(answer) == answer
    else:
        with pytest.raises(TransientError):
            usable_shipment_id(answer)


NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
ZONES = st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


def waits_s(header: str) -> float:
    result = shipped(503, b"", header)
    assert isinstance(result, OutageError)
    return result.retry_after_s


@given(st.integers(0, 10**400) | st.integers(0, 700))
def test_seconds_to_wait_are_taken_up_to_the_longest_wait(seconds: int) -> None:
    assert waits_s(str(seconds)) == min(seconds, MAX_RETRY_AFTER_S)


@given(
    VISIBLE
    | st.builds("{}{}".format, st.just("Sun, 22 Nov 2026 10:00:00 "), VISIBLE)
    | matching(r"[A-Z][a-z]{2}, [0-9]{1,2} (Nov|Feb) [0-9]{1,5} [0-9:]{1,9} [A-Z+-][0-9A-Z]{0,5}", fullmatch=True)
)
def test_any_header_is_a_wait_between_none_and_the_longest(header: str) -> None:
    assert 0 <= waits_s(header) <= MAX_RETRY_AFTER_S


@given(st.integers(-100_000, 100_000), ZONES)
def test_a_date_is_waited_for_in_any_time_zone(seconds: int, zone: timezone) -> None:
    before = datetime.now(UTC)
    waited_s = waits_s(format_datetime((before + timedelta(seconds=seconds)).astimezone(zone)))
    took_s = (datetime.now(UTC) - before).total_seconds()
    latest = min(max(0.0, seconds), MAX_RETRY_AFTER_S)
    assert latest - 1 - took_s <= waited_s <= latest
