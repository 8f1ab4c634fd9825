import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic_core import from_json
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars

from workers import logs
from workers.log_output import LogOutput
from workers.log_text import render

CARD = "4929123412345678"
FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678"]


class Captured(io.TextIOWrapper):
    """A text stream over bytes, like standard output."""

    def __init__(self) -> None:
        self.written = io.BytesIO()
        self.output: LogOutput | None = None
        super().__init__(self.written, encoding="utf-8", write_through=True)

    def getvalue(self) -> str:
        """Return what was written, once everything that was logged is."""
        assert self.output is not None
        assert self.output.flush(30)
        return self.written.getvalue().decode()


Configure = Callable[..., Captured]


@pytest.fixture
def configured() -> Iterator[Configure]:
    """Yield a function that configures logging and returns its stream. The former configuration is restored."""
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    before, show = structlog.get_config(), warnings.showwarning

    def configure(level: str = "INFO", *, json: bool = True, release: str | None = None) -> Captured:
        stream = Captured()
        structlog.reset_defaults()
        stream.output = logs.configure(level=level, as_json=json, release=release, stream=stream)
        return stream

    yield configure
    root.handlers, root.level, logging.raiseExceptions = handlers, level, raises
    structlog.configure(**before)
    warnings.showwarning = show
    clear_contextvars()


def lines(stream: Captured) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json(configured: Configure) -> None:
    stream = configured()
    structlog.get_logger().info("order.fulfilled", order_id="001", text="two\nlines", none=None)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "order.fulfilled", "order_id": "001", "text": "two\nlines"}
    assert stream.getvalue().count("\n") == 1


def test_a_line_begins_with_time_level_and_event(configured: Configure) -> None:
    stream = configured()
    structlog.get_logger().info("x.done", outcome="fine", receive_count=1, message_id="m", worker="fulfillment")
    assert list(lines(stream)[0]) == [
        *("timestamp", "level", "event", "worker", "message_id", "receive_count", "outcome"),
    ]


def test_bound_values_are_on_every_line(configured: Configure) -> None:
    stream = configured()
    bind_contextvars(worker="fulfillment")
    with bound_contextvars(message_id="m"):
        structlog.get_logger().info("one.done")
    structlog.get_logger().info("two.done")
    assert [(line["worker"], line.get("message_id")) for line in lines(stream)] == [
        ("fulfillment", "m"),
        ("fulfillment", None),
    ]


def test_a_value_of_the_line_itself_replaces_a_bound_one(configured: Configure) -> None:
    stream = configured()
    with bound_contextvars(order_id="001", channel="ops"):
        structlog.get_logger().info("one.done", order_id="002")
        structlog.get_logger().info("two.done", order_id=None)
    clear_contextvars()
    structlog.get_logger().info("three.done")
    assert [(line.get("order_id"), line.get("channel")) for line in lines(stream)] == [
        ("002", "ops"),
        (None, "ops"),
        (None, None),
    ]


@pytest.mark.parametrize("release", ["3f9a", None])
def test_every_line_carries_the_release_if_there_is_one(configured: Configure, release: str | None) -> None:
    stream = configured(release=release)
    structlog.get_logger().info("one.done")
    logging.getLogger("some.library").warning("Slow")
    try:
        raise ValueError("broken")  # noqa: TRY301 - the error under test.
    except ValueError:
        structlog.get_logger().exception("worker.failed")
    assert [line.get("release") for line in lines(stream)] == [release] * 3
    assert release or '"release"' not in stream.getvalue()


@pytest.mark.parametrize(("level", "events"), [("DEBUG", "diwe"), ("INFO", "iwe"), ("WARNING", "we"), ("ERROR", "e")])
def test_lines_below_the_level_are_not_written(configured: Configure, level: str, events: str) -> None:
    stream = configured(level)
    log = structlog.get_logger()
    for method, event in ((log.debug, "d"), (log.info, "i"), (log.warning, "w"), (log.error, "e")):
        method(event)
    assert "".join(line["event"] for line in lines(stream)) == events


def test_text_in_any_script_stays_readable(configured: Configure) -> None:
    stream = configured()
    structlog.get_logger().info("x.done", name="Zo\u00eb \u5f20\u4f1f \U0001f6b2")
    assert "Zo\u00eb \u5f20\u4f1f \U0001f6b2" in stream.getvalue()
    assert lines(stream)[0]["name"] == "Zo\u00eb \u5f20\u4f1f \U0001f6b2"


def test_half_of_a_surrogate_pair_does_not_make_a_line_unreadable(configured: Configure) -> None:
    stream = configured()
    structlog.get_logger().info("x.done", name="Zo\u00eb \ud83d")
    (line,) = stream.getvalue().splitlines()
    found = from_json(line)  # Stricter than Python's own reader, as those of other languages are.
    assert found["name"] == "Zo\u00eb \ufffd"


def untimed(written: str) -> str:
    """Return lines without the fractions of their times, in which any digits may be."""
    text, count = re.subn(r"(?<=:\d\d)\.\d+", "", written)
    assert count
    return text


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_a_card_number_is_masked_anywhere_in_a_line(configured: Configure, form: str, as_json: bool) -> None:
    stream = configured(json=as_json)
    log = structlog.get_logger()
    log.info("x.done", text=f"Card {form}.")
    log.info("x.done", nested={"list": [{"deep": form}], form: "key"})
    log.info("x.done", **{f"key {form}": "value"})
    log.info("x.done", number=int(CARD), error=ValueError(form))
    log.info(f"event {form}")
    with bound_contextvars(bound=form):
        log.info("x.done")
    try:
        raise ValueError(f"Card {form}") from KeyError(form)  # noqa: TRY301 - the error under test.
    except ValueError:
        log.exception("x.failed")
    written = stream.getvalue()
    assert "****" in written
    assert "1234" not in untimed(written)
    assert written.count("x.done") == 5


@pytest.mark.parametrize("as_json", [True, False])
def test_a_card_number_in_a_librarys_line_is_masked(configured: Configure, as_json: bool) -> None:
    stream = configured(json=as_json)
    library = logging.getLogger("some.library")
    library.warning("Card %s and %d", FORMS[1], int(CARD))
    library.warning("with extra", extra={"card": CARD})
    library.error("stack", stack_info=True)
    try:
        raise ValueError(f"Card {CARD}")  # noqa: TRY301 - the error under test.
    except ValueError:
        library.exception("Failed with %s", CARD)
    assert "1234" not in untimed(stream.getvalue())
    assert "****" in stream.getvalue()


def test_a_librarys_line_that_cannot_be_formatted_is_shown_nowhere(
    configured: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = configured()
    logging.getLogger("some.library").warning("%d orders", "4111 1111 1111 1111")
    assert (lines(stream), capfd.readouterr()) == ([], ("", ""))
    assert not logging.raiseExceptions, "other handlers show it nowhere either"


def test_a_librarys_line_is_one_line_of_json(configured: Configure) -> None:
    stream = configured()
    library = logging.getLogger("some.library")
    library.info("not worth a line")
    library.warning("Slow: %s", "5 s")
    library.error("Where", stack_info=True)
    try:
        raise ValueError("broken")  # noqa: TRY301 - the error under test.
    except ValueError:
        library.exception("Failed")
    slow, where, failed = lines(stream)
    assert slow.pop("timestamp").endswith("Z")
    assert slow == {"level": "warning", "event": "library.logged", "logger": "some.library", "detail": "Slow: 5 s"}
    assert where["detail"] == "Where"
    assert (failed["level"], failed["detail"]) == ("error", "Failed")
    assert "ValueError: broken" in failed["exception"]


async def helper(text: str) -> str:
    return text


def test_a_forgotten_await_is_an_event_with_its_place(configured: Configure, capfd: pytest.CaptureFixture[str]) -> None:
    stream = configured()
    with warnings.catch_warnings(), bound_contextvars(message_id="m"):
        warnings.simplefilter("default")
        helper("lost")  # type: ignore[unused-coroutine]
        warnings.warn(f"card {CARD}", stacklevel=1)
    forgotten, other = lines(stream)
    assert (forgotten["level"], forgotten["event"], forgotten["message_id"]) == ("warning", "code.warned", "m")
    assert (forgotten["warning"], forgotten["detail"]) == ("RuntimeWarning", "coroutine 'helper' was never awaited")
    assert (forgotten["file"], other["line"]) == (__file__, forgotten["line"] + 1)
    assert (other["warning"], other["detail"]) == ("UserWarning", "card ****")
    assert capfd.readouterr() == ("", "")


def test_an_exceptions_traceback_is_on_the_same_line(configured: Configure) -> None:
    stream = configured()
    try:
        raise ValueError("broken")  # noqa: TRY301 - the error under test.
    except ValueError:
        structlog.get_logger().exception("message.failed", message_id="m")
    (line,) = lines(stream)
    assert (line["level"], line["event"], line["message_id"]) == ("error", "message.failed", "m")
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: broken")


def test_ids_of_aws_are_not_masked(configured: Configure) -> None:
    stream = configured()
    ids = {
        "message_id": "12345678-1234-1234-1234-123456789012",
        "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:Orders:12345678-1234-1234-1234-123456789012",
        "order_id": "order_12345678-1234-1234-1234-123456789012",
    }
    structlog.get_logger().info("x.done", **ids)
    assert {name: lines(stream)[0][name] for name in ids} == ids


def test_escalations_and_warnings_are_kept_and_belong_to_their_message(
    configured: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[tuple[bool, str | None]] = []

    class Output:
        def __init__(self, _write: object) -> None:
            """Write nothing."""

        def put(self, _line: bytes, keep: bool, message_id: str | None = None) -> None:
            put.append((keep, message_id))

        def reset_after_fork(self) -> None:
            """No process is forked."""

    monkeypatch.setattr(logs, "LogOutput", Output)
    configured("DEBUG")
    log = structlog.get_logger()
    with bound_contextvars(message_id="m"):
        for method in (log.debug, log.info, log.warning, log.error, log.critical):
            method("x.done")
        log.info("escalation.routed")
        logging.getLogger("some.provider").error("Refused")
    log.info("x.done", message_id=["not", "an", "id"])
    logging.getLogger("some.library").warning("Slow")
    assert put == [(False, "m")] * 2 + [(True, "m")] * 5 + [(False, None), (True, None)]


def test_console_lines_are_readable_text(configured: Configure) -> None:
    stream = configured(json=False)
    log_error(order_id="001", text="two\nlines \x1b[2J", card=FORMS)
    (line,) = stream.getvalue().splitlines()
    assert line[23:].startswith(" error                message.failed         order_id=001 text=")
    assert line.isprintable()
    assert 'exception="ValueError: broken" at="workers/test_logs.py:' in line
    assert "4929" not in untimed(line)


def test_a_traceback_is_on_the_console_only_at_debug(configured: Configure) -> None:
    stream = configured("DEBUG", json=False)
    log_error()
    first, *below = stream.getvalue().splitlines()
    assert 'exception="ValueError: broken"' in first
    assert (below[0], below[-1]) == ("    Traceback (most recent call last):", "    ValueError: broken")


def test_the_console_shows_a_line_as_orders_logs_shows_its_json(configured: Configure) -> None:
    for as_json in (True, False):
        stream = configured(json=as_json)
        bind_contextvars(worker="escalation", queue="EscalationQueue", message_id="m")
        structlog.get_logger().warning("escalation.routed", case_id="c", reasons=["A", "B"], order_id="1", flag=True)
        (shown,) = [render(json.loads(stream.getvalue()), color=False)] if as_json else stream.getvalue().splitlines()
        assert shown[23:] == (
            " warning  escalation  escalation.routed      order_id=1 case_id=c reasons=A,B flag=true message_id=m"
        )


@pytest.mark.parametrize("name", ["botocore.endpoint", "aiobotocore", "boto3", "aioboto3.x", "urllib3", "asyncio"])
def test_the_sdks_own_lines_are_not_logged_below_warning(configured: Configure, name: str) -> None:
    """They have whole requests in them, with their signatures and bodies."""
    stream = configured("DEBUG")
    library = logging.getLogger(name)
    level = library.level
    try:
        library.debug("a secret")
        library.setLevel("DEBUG")
        library.debug("a secret")
        library.info("a secret")
        library.warning("retries are over")
    finally:
        library.setLevel(level)
    assert [line["detail"] for line in lines(stream)] == ["retries are over"]


def log_error(**values: object) -> None:
    try:
        raise ValueError("broken")  # noqa: TRY301 - the error under test.
    except ValueError:
        structlog.get_logger().exception("message.failed", **values)


def test_a_forked_process_that_configures_its_log_starts_with_no_lines_of_its_parent(
    configured: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset: list[LogOutput] = []
    monkeypatch.setattr(LogOutput, "reset_after_fork", lambda output: reset.append(output))  # noqa: PLW0108 - `append` would not be a method.
    assert [configured().output, configured().output] == reset
