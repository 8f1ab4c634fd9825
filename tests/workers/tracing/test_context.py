"""Which trace a message continues."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, use_span

from tests.strategies import matching, unicode_text
from workers.consumer.message import Message, TracedMessage
from workers.tracing.context import headers, parent_of, xray_header

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OTHER = "5759e988bd862e3fe1be46a994272793"
W3C = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
XRAY = f"Root=1-{OTHER[:8]}-{OTHER[8:]};Parent={SPAN};Sampled=1"


def message(header: str | None = None, **attributes: str) -> Message:
    given: dict[str, Any] = {name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()}
    return received(header, given)


def received(header: str | None, attributes: dict[str, Any]) -> Message:
    plain = Message(id="m", receipt_handle="r", body="b", attributes=attributes)
    if header is None:
        return plain
    return TracedMessage(id="m", receipt_handle="r", body="b", attributes=attributes, trace_header=header)


def parent(of: Message) -> SpanContext:
    return get_current_span(parent_of(of)[0]).get_span_context()


def test_a_message_continues_the_trace_of_its_attribute() -> None:
    found = parent(message(**W3C, tracestate="a=b"))
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (TRACE, SPAN)
    assert (found.trace_flags.sampled, found.is_remote, found.trace_state.get("a")) == (True, True, "b")


@pytest.mark.parametrize(("flag", "sampled"), [("1", True), ("0", False)])
def test_a_message_continues_the_trace_of_the_header(flag: str, sampled: bool) -> None:
    found = parent(message(XRAY.replace("Sampled=1", f"Sampled={flag};Lineage=a87bd80c:1|68fd508a:5")))
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (OTHER, SPAN)
    assert found.trace_flags.sampled == sampled


def test_the_attribute_counts_before_the_header_which_becomes_a_link() -> None:
    context, links = parent_of(message(XRAY, **W3C))
    assert f"{get_current_span(context).get_span_context().trace_id:032x}" == TRACE
    assert [f"{link.context.trace_id:032x}" for link in links] == [OTHER]


def test_the_same_trace_twice_is_no_link() -> None:
    assert parent_of(message(XRAY.replace(OTHER[:8], TRACE[:8]).replace(OTHER[8:], TRACE[8:]), **W3C))[1] == []


def test_an_unusable_attribute_leaves_the_header() -> None:
    assert f"{parent(message(XRAY, traceparent='00-zz')).trace_id:032x}" == OTHER


@pytest.mark.parametrize("state", ["vendor=4111111111111111", "vendor=4111 1111 1111 1111", "a=" + "b" * 511])
def test_a_state_that_could_hold_a_card_number_is_dropped(state: str) -> None:
    found = parent(message(**W3C, tracestate=state))
    assert (f"{found.trace_id:032x}", len(found.trace_state)) == (TRACE, 0)


def test_a_state_of_the_size_that_everybody_must_pass_on_is_kept() -> None:
    state = f"a={'b' * 253},c={'d' * 254}"
    assert (len(state), len(parent(message(**W3C, tracestate=state)).trace_state)) == (512, 2)


def test_a_message_without_a_trace_begins_one() -> None:
    assert not parent(message()).is_valid
    assert not parent(message(tracestate="a=b")).is_valid


@given(
    header=st.none() | unicode_text | matching(r"(Root|Parent|Sampled)=[0-9a-f;=-]{0,60}"),
    attributes=st.dictionaries(
        st.sampled_from(["traceparent", "tracestate"]),
        st.dictionaries(st.sampled_from(["StringValue", "BinaryValue"]), unicode_text | st.binary() | st.none()),
    ),
)
def test_any_header_and_attribute_can_be_read(header: str | None, attributes: dict[str, Any]) -> None:
    parent_of(received(header, attributes))


ids = st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1)


@given(*ids, st.booleans())
def test_what_goes_out_is_read_again(trace_id: int, span_id: int, sampled: bool) -> None:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)
    with use_span(NonRecordingSpan(context)):
        sent = [message(**headers()), message(xray_header())]
    for found in map(parent, sent):
        assert (found.trace_id, found.span_id, found.trace_flags) == (trace_id, span_id, flags)


def test_outside_of_a_trace_nothing_goes_out() -> None:
    assert (headers(), xray_header()) == ({}, None)
