"""What `orders dead-letters` prints and does, against two dead-letter queues in memory."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import click
import pytest
from click.testing import Result

from tests.workers.cli.console import done, rows, run
from tests.workers.operations.fakes import NOW, FakeClient, fake_stack
from tests.workers.operations.queue_fakes import FakeQueue
from workers.cli.dead_letter_edit import ctrl_c_for_editor, edit_letter
from workers.cli.dead_letters import command

if TYPE_CHECKING:
    from workers.operations.stack import Stack

CARD = "4929123412345678"
LOST = {"OrderId": "001", "ExecutionArn": "arn:aws:states:us-east-1:000000000000:execution:Orders:one"}
UNDECODABLE = "UNDECODABLE_MESSAGE: neither a JSON object nor an OrderId"
REDRIVEN = "moved by SQS's own redrive: delivered too often"
HEADINGS = "QUEUE | ID | AGE | ORDER | REASON | ERROR | CASE"
OLD = f"OrderFulfillmentQueue-DLQ | m-old | 2h | - | {UNDECODABLE} | undecodable error | message-o-1"
NEW = f"OrderFulfillmentQueue-DLQ | m-new | 90s | 001 | {REDRIVEN} | - | -"
OTHER = f"EscalationQueue-DLQ | m-other | 10m | 007 | {REDRIVEN} | - | -"
DRY = "This was a dry run: nothing was changed"


def sent(age: timedelta, **more: Any) -> dict[str, Any]:
    return {"Attributes": {"SentTimestamp": str(int((NOW - age).timestamp() * 1000)), **more}}


def labels(**values: str) -> dict[str, Any]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


class Aws:
    """Dead letters: `m-new` and the older, undecodable `m-old` of the fulfillment queue, `m-other` of the other one."""

    def __init__(self) -> None:
        self.fulfillment, self.escalation = FakeQueue("m-new", "m-old"), FakeQueue("m-other")
        self.requests: list[tuple[str, dict[str, Any]]] = []
        redriven = {"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:Q"}
        self.fulfillment.parts = {
            "m-new": {"Body": json.dumps(LOST), **sent(timedelta(seconds=90), **redriven)},
            "m-old": {
                "Body": f"[{CARD}]",
                **sent(timedelta(minutes=1)),
                "MessageAttributes": labels(
                    Reason=UNDECODABLE,
                    ErrorClass="UndecodableError",
                    OriginMessageId="o-1",
                    FirstReceivedAt="2026-11-22T10:00:00.000000Z",
                    trace="t-1",
                ),
            },
        }
        self.escalation.parts["m-other"] = {"Body": "007", **sent(timedelta(minutes=10), **redriven)}
        self.stack: Stack = fake_stack(sqs=cast("FakeClient", self))

    async def call(self, operation: str, **request: Any) -> Any:
        if operation == "get_queue_url":
            return {"QueueUrl": request["QueueName"]}
        url = request["QueueUrl"]
        if url.endswith("-DLQ"):
            return await (self.fulfillment if url == "OrderFulfillmentQueue-DLQ" else self.escalation).call(
                operation, **request
            )
        if operation == "list_queue_tags":
            return {}
        if operation == "get_queue_attributes":
            target = f"arn:aws:sqs:us-east-1:000000000000:{url}-DLQ"
            return {"Attributes": {"RedrivePolicy": json.dumps({"deadLetterTargetArn": target})}}
        self.requests.append((operation, request))
        return {}

    def list(self, *arguments: str) -> Result:
        ran = done(command, "list", *arguments, stack=self.stack)
        assert CARD not in ran.output
        assert (self.fulfillment.hidden, self.escalation.hidden) == ([], []), "all are visible again"
        return ran


def found(selected: int, seen: int, count: int, name: str = "OrderFulfillmentQueue-DLQ") -> str:
    if seen >= count:
        return f"{name}: {selected} selected of {seen} dead {'letter' if seen == 1 else 'letters'}"
    counts = f"{selected} selected of {seen} looked at, of about {count} dead letters"
    return f"{name}: {counts}. The list is incomplete: another consumer has received the others, or SQS's count is late"


def test_dead_letters_of_both_queues_are_a_table_oldest_first() -> None:
    ran = Aws().list()
    assert rows(ran.stdout) == [HEADINGS, OLD, OTHER, NEW]
    assert ran.stderr.splitlines() == [found(2, 2, 2), found(1, 1, 1, "EscalationQueue-DLQ")]


def test_ages_are_aligned_to_the_right() -> None:
    headings, first, second, _ = Aws().list().stdout.splitlines()
    assert headings.index("AGE  ") + 3 == first.index("2h  ") + 2 == second.index("10m  ") + 3


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["fulfillment"], [OLD, NEW]),
        (["escalation"], [OTHER]),
        (["--reason", "undecodable"], [OLD]),
        (["--order", "001"], [NEW]),
        (["--older-than", "5m"], [OLD, OTHER]),
        (["--since", "5m"], [NEW]),
        (["--since", "11m", "--until", "5m"], [OTHER]),
        (["--until", "2026-11-22T11:00Z"], [OLD]),
        (["--id", "m-new", "--id", "o-1"], [OLD, NEW]),
        (["fulfillment", "--limit", "1"], [NEW]),
    ],
)
def test_dead_letters_can_be_selected(arguments: list[str], shown: list[str]) -> None:
    assert rows(Aws().list(*arguments).stdout) == [HEADINGS, *shown]


def test_bodies_are_shown_masked_if_they_are_asked_for() -> None:
    ran = Aws().list("fulfillment", "--bodies")
    assert rows(ran.stdout) == [f"{HEADINGS} | BODY", f"{OLD} | [****]", f"{NEW} | {json.dumps(LOST)}"]
    answer = json.loads(Aws().list("fulfillment", "--bodies", "--json").stdout)
    assert [letter["body"] for letter in answer] == ["[****]", json.dumps(LOST)]


def test_for_scripts_the_letters_are_json() -> None:
    ran = Aws().list("--json")
    first, second, third = json.loads(ran.stdout)
    assert first == {
        "queue": "OrderFulfillmentQueue-DLQ",
        "id": "m-old",
        "origin_message_id": "o-1",
        "reason": UNDECODABLE,
        "error": "undecodable error",
        "order_id": None,
        "case_id": "message-o-1",
        "first_received_at": "2026-11-22T10:00:00.000000Z",
        "sent_at": "2026-11-22T11:59:00.000000Z",
        "age_s": 7200,
        "body": None,
    }
    assert [second["id"], third["id"], third["order_id"], third["age_s"]] == ["m-other", "m-new", "001", 90]
    assert len(ran.stderr.splitlines()) == 2


def test_a_letter_of_unknown_age_has_none() -> None:
    aws = Aws()
    aws.fulfillment.parts["m-new"]["Attributes"] = {}
    assert [letter["age_s"] for letter in json.loads(aws.list("fulfillment", "--json").stdout)] == [7200, None]
    assert rows(aws.list("fulfillment").stdout)[2].split(" | ")[2] == "-"
    aws.fulfillment.parts["m-old"] = {"Body": "002", **sent(timedelta(seconds=0.5))}
    shown = [row.split(" | ")[1:3] for row in rows(aws.list("fulfillment").stdout)[1:]]
    assert shown == [["m-old", "0s"], ["m-new", "-"]], "it comes last"


def test_an_empty_queue_has_no_table() -> None:
    aws = Aws()
    aws.fulfillment, aws.escalation = FakeQueue(), FakeQueue()
    ran = aws.list()
    assert ran.stdout == ""
    assert ran.stderr.splitlines() == [
        "OrderFulfillmentQueue-DLQ: no dead letters",
        "EscalationQueue-DLQ: no dead letters",
    ]
    assert json.loads(aws.list("--json").stdout) == []


def test_letters_that_do_not_become_visible_are_said() -> None:
    aws = Aws()
    aws.fulfillment.refused.add("change_message_visibility_batch")
    ran = done(command, "list", "fulfillment", stack=aws.stack)
    assert ran.stderr.splitlines()[0] == (
        "orders: the messages that were looked at are visible again in 60 seconds at the latest"
    )


def test_letters_of_both_queues_are_held_until_the_last_was_looked_at() -> None:
    aws, hidden = Aws(), []
    aws.escalation.during["receive_message"] = lambda: hidden.append(sorted(aws.fulfillment.hidden))
    aws.list()
    assert hidden[0] == ["m-new", "m-old"]


@pytest.mark.parametrize(("action", "past"), [("replay", "replayed"), ("discard", "discarded")])
def test_a_dry_run_only_shows_the_action(action: str, past: str) -> None:
    aws = Aws()
    ran = done(command, action, "fulfillment", "--dry-run", stack=aws.stack)
    assert rows(ran.stdout) == [f"{HEADINGS} | OUTCOME", f"{OLD} | would be {past}", f"{NEW} | would be {past}"]
    undecodable = ["1 of them could not be decoded and will come back here"] if action == "replay" else []
    assert ran.stderr.splitlines() == [*undecodable, found(2, 2, 2), DRY]
    assert (sorted(aws.fulfillment.visible), aws.requests) == (["m-new", "m-old"], [])


def test_letters_are_replayed_as_they_were_sent() -> None:
    aws = Aws()
    ran = done(command, "replay", "fulfillment", "--yes", "--rate", "1000", stack=aws.stack)
    assert rows(ran.stdout) == [f"{HEADINGS} | OUTCOME", f"{OLD} | replayed", f"{NEW} | replayed"]
    assert ran.stderr.splitlines() == [
        "1 of them could not be decoded and will come back here",
        "2 dead letters of OrderFulfillmentQueue-DLQ to be replayed",
        found(2, 2, 2),
    ]
    trace = {"trace": {"DataType": "String", "StringValue": "t-1"}}
    assert [(name, request["QueueUrl"], request["MessageBody"]) for name, request in aws.requests] == [
        ("send_message", "OrderFulfillmentQueue", f"[{CARD}]"),
        ("send_message", "OrderFulfillmentQueue", json.dumps(LOST)),
    ]
    assert [request.get("MessageAttributes") for _, request in aws.requests] == [trace, {}]
    assert (aws.fulfillment.visible, aws.fulfillment.hidden) == ([], [])


def test_the_selected_letters_are_discarded_and_no_others() -> None:
    aws = Aws()
    ran = done(command, "discard", "escalation", "--id", "m-other", "--yes", stack=aws.stack)
    assert rows(ran.stdout) == [f"{HEADINGS} | OUTCOME", f"{OTHER} | discarded"]
    assert ran.stderr.splitlines() == [
        "1 dead letter of EscalationQueue-DLQ to be discarded",
        found(1, 1, 1, "EscalationQueue-DLQ"),
    ]
    assert (aws.requests, aws.escalation.visible, aws.fulfillment.calls) == ([], [], [])
    ran = done(command, "discard", "fulfillment", "--order", "001", "--yes", "--json", stack=aws.stack)
    (letter,) = json.loads(ran.stdout)
    assert (letter["id"], letter["outcome"], letter["problem"]) == ("m-new", "discarded", None)
    assert aws.fulfillment.visible == ["m-old"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a person answer, and show no progress."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: self.name == "<stdin>", raising=False)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("answer", ["n", "y"])
@pytest.mark.parametrize(
    ("verb", "past", "question"),
    [
        ("replay", "replayed", "Replay 2 dead letters of OrderFulfillmentQueue-DLQ? [y/N]: "),
        ("discard", "discarded", "Discard 2 dead letters of OrderFulfillmentQueue-DLQ for good? [y/N]: "),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_is_about_to_be_done_is_shown_and_asked(
    verb: str, past: str, question: str, answer: str, options: list[str]
) -> None:
    aws = Aws()
    ran = run(command, verb, "fulfillment", "--rate", "1000", *options, stack=aws.stack, given=f"{answer}\n")
    *shown, asked = ran.stderr.partition(question)
    assert rows(shown[0])[-3:] == [f"{HEADINGS} | OUTCOME", f"{OLD} | would be {past}", f"{NEW} | would be {past}"]
    if answer == "n":
        assert (str(ran.exception), ran.stdout) == ("nothing was done", "")
        assert (sorted(aws.fulfillment.visible), aws.requests) == (["m-new", "m-old"], [])
    else:
        assert (ran.exit_code, aws.fulfillment.visible, aws.fulfillment.hidden) == (0, [], [])
        assert asked.splitlines() == ["y", f"2 dead letters of OrderFulfillmentQueue-DLQ to be {past}", found(2, 2, 2)]
        assert ran.stdout.count(past) == 2


@pytest.mark.usefixtures("terminal")
def test_only_those_that_were_shown_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws()

    def confirm(*_: object, **__: object) -> bool:
        aws.fulfillment.visible.insert(0, "m-later")
        aws.fulfillment.visible.remove("m-old")
        return True

    monkeypatch.setattr("click.confirm", confirm)
    ran = run(command, "discard", "fulfillment", "--rate", "1000", stack=aws.stack)
    assert rows(ran.stdout)[1:] == [f"{NEW} | discarded"]
    assert str(ran.exception) == "no dead letter found with the id m-old", "another consumer has it"
    assert aws.fulfillment.visible == ["m-later"]


@pytest.mark.usefixtures("terminal")
def test_one_letter_is_asked_about_as_one() -> None:
    ran = run(command, "replay", "fulfillment", "--id", "m-old", stack=Aws().stack, given="n\n")
    assert "Replay 1 dead letter of OrderFulfillmentQueue-DLQ? [y/N]: " in ran.stderr


@pytest.mark.usefixtures("terminal")
def test_nothing_is_asked_if_nothing_is_selected() -> None:
    ran = done(command, "discard", "fulfillment", "--order", "002", "--json", stack=Aws().stack)
    assert (ran.stdout, ran.stderr.splitlines()) == ("[]\n", [found(0, 2, 2)])
    ran = run(command, "discard", "fulfillment", "--id", "m-gone", stack=Aws().stack)
    assert str(ran.exception) == "no dead letter found with the id m-gone"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "there is no terminal to ask for confirmation: use --yes, or --dry-run to only look"),
        (["--json"], "there is no terminal to ask for confirmation: use --yes, or --dry-run to only look"),
        (["--yes", "--dry-run"], "--yes and --dry-run exclude each other"),
        (["--execute", "--dry-run"], "--yes and --dry-run exclude each other"),
        (["--yes", "--reason", ""], "is empty, must be a reason, or a part of its text"),
    ],
)
@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_without_a_terminal_an_answer_must_be_given(verb: str, arguments: list[str], problem: str) -> None:
    aws = Aws()
    ran = run(command, verb, "escalation", *arguments, stack=aws.stack)
    assert (ran.exit_code, ran.stdout, aws.escalation.calls) == (2, "", [])
    assert problem in ran.stderr


def test_the_former_name_of_yes_is_accepted_and_deletes_all_only_with_it() -> None:
    aws = Aws()
    done(command, "replay", "fulfillment", "--execute", "--rate", "1000", stack=aws.stack)
    assert aws.fulfillment.visible == []
    ran = run(command, "discard", "escalation", "--execute", stack=aws.stack)
    assert (ran.exit_code, aws.escalation.calls) == (2, [])
    done(command, "discard", "escalation", "--execute", "--reason", "moved", stack=aws.stack)
    assert aws.escalation.visible == []
    again = Aws()
    done(command, "discard", "escalation", "--execute", "--yes", stack=again.stack)
    assert again.escalation.visible == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("FULFILLMENT", [OLD, NEW]),
        ("OrderFulfillmentQueue", [OLD, NEW]),
        ("OrderFulfillmentDLQ", [OLD, NEW]),
        ("Escalation", [OTHER]),
        ("EscalationQueue", [OTHER]),
    ],
)
def test_a_queue_is_named_by_its_word_or_by_its_own_name(given: str, shown: list[str]) -> None:
    assert rows(Aws().list(given).stdout) == [HEADINGS, *shown]


@pytest.mark.parametrize("reason", ["undecodable_message", "Undecodable-Message", "undecodable message", "UNDECODABLE"])
def test_a_reason_may_be_spelled_as_for_cases(reason: str) -> None:
    assert rows(Aws().list("--reason", reason).stdout) == [HEADINGS, OLD]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_letters_that_fail_are_counted_and_exit_with_1(arguments: list[str]) -> None:
    aws = Aws()
    aws.fulfillment.refused.add("delete_message")
    ran = run(command, "replay", "fulfillment", "--yes", "--rate", "1000", *arguments, stack=aws.stack)
    assert str(ran.exception) == "2 of 2 dead letters failed; the command can be repeated"
    assert getattr(ran.exception, "exit_code", None) == 1
    if arguments:
        first, _ = json.loads(ran.stdout)
        assert (first["outcome"], "InternalError" in first["problem"]) == ("replayed, not removed", True)
    else:
        _, first, second = rows(ran.stdout)
        assert first.startswith(f"{OLD} | replayed, not removed: ")
        assert second.startswith(f"{NEW} | replayed, not removed: ")
    assert ran.stderr.splitlines()[-1] == found(2, 2, 2)


@pytest.mark.parametrize("arguments", [["--yes"], ["--dry-run"], ["--yes", "--json"]])
@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_an_id_that_is_not_found_is_named_and_exits_with_1(verb: str, arguments: list[str]) -> None:
    aws = Aws()
    given = ["--id", "m-gone", "--id", "m-new", "--id", "m-lost", "--rate", "1000"]
    ran = run(command, verb, "fulfillment", *given, *arguments, stack=aws.stack)
    assert str(ran.exception) == "no dead letter found with the id m-gone, m-lost"
    assert getattr(ran.exception, "exit_code", None) == 1
    assert "m-new" in ran.stdout, "what is found is dealt with"
    assert ("m-new" in aws.fulfillment.visible) == ("--dry-run" in arguments)


def test_an_id_in_neither_queue_is_named_by_list() -> None:
    ran = run(command, "list", "--id", "m-other", "--id", "o-1", "--id", CARD, stack=Aws().stack)
    assert rows(ran.stdout) == [HEADINGS, OLD, OTHER]
    assert str(ran.exception) == f"no dead letter found with the id {CARD}"  # `main` masks it.


def test_failures_and_ids_that_are_not_found_are_both_named() -> None:
    aws = Aws()
    aws.fulfillment.refused.add("delete_message")
    ran = run(command, "discard", "fulfillment", "--id", "m-new", "--id", "m-gone", "--yes", stack=aws.stack)
    assert str(ran.exception) == (
        "1 of 1 dead letters failed; the command can be repeated; no dead letter found with the id m-gone"
    )


def test_an_action_without_letters_prints_no_table_and_no_dry_run() -> None:
    given = ("discard", "fulfillment", "--order", "002", "--dry-run")
    ran = done(command, *given, stack=Aws().stack)
    assert (ran.stdout, ran.stderr.splitlines()) == ("", [found(0, 2, 2)])
    assert done(command, *given, "--json", stack=Aws().stack).stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["replay", "Q.fifo"],
            "'Q.fifo' must be fulfillment, escalation or the name, the URL or the ARN of a standard SQS queue, not",
        ),
        (["list", "Q.fifo"], "'Q.fifo' must be fulfillment, escalation or the name, the URL or the ARN of a standard"),
        (["list", "--limit", "0"], "0 is not in the range 1<=x<=10000"),
        (["list", "--limit", "10001"], "10001 is not in the range 1<=x<=10000"),
        (["list", "--older-than", "1w"], "must be a whole number and a unit: 90s, 10m, 2h or 3d"),
        (["discard", "fulfillment", "--rate", "0.09"], "0.09 is not in the range 0.1<=x<=1000"),
        (["discard", "fulfillment", "--rate", "1001"], "1001.0 is not in the range 0.1<=x<=1000"),
        (["discard", "fulfillment", "--rate", "nan"], "nan is not a number of messages"),
        (["list", "--yes"], "No such option '--yes'"),
        (["discard", "fulfillment", "--bodies"], "No such option '--bodies'"),
    ],
)
def test_wrong_options_name_what_is_allowed(arguments: list[str], problem: str) -> None:
    ran = run(command, *arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert problem in ran.stderr


@pytest.mark.parametrize("dry", [False, True])
def test_only_what_was_done_is_said_even_if_standard_output_is_closed(
    monkeypatch: pytest.MonkeyPatch, *, dry: bool
) -> None:
    kept: list[str] = []

    @contextlib.contextmanager
    def results() -> Iterator[None]:
        kept.append("kept")
        yield

    monkeypatch.setattr("workers.cli.dead_letter_work.results", results)
    done(command, "discard", "fulfillment", "--dry-run" if dry else "--yes", stack=Aws().stack)
    assert kept == ([] if dry else ["kept"])


def test_a_thousand_letters_at_ten_a_second_are_the_default() -> None:
    text = " ".join(done(command, "replay", "--help").stdout.split())
    assert "At most N dead letters of a queue are selected, up to 10000. [default: 1000; 1<=x<=10000]" in text
    assert "At most N messages a second, 0.1 to 1000. [default: 10.0; 0.1<=x<=1000]" in text


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("receive_message", "interrupted; the command can be repeated"),
        ("delete_message", "interrupted: 1 of 2 dead letters discarded; the command can be repeated"),
    ],
)
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_ctrl_c_finishes_the_letter_and_says_what_is_done(operation: str, text: str, arguments: list[str]) -> None:
    aws = Aws()
    aws.fulfillment.during[operation] = lambda: signal.raise_signal(signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # It is ignored if tests run in the background.
    try:
        ran = run(command, "discard", "fulfillment", "--yes", "--rate", "1000", *arguments, stack=aws.stack)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (str(ran.exception), getattr(ran.exception, "exit_code", None)) == (text, 130)
    if operation != "delete_message":
        assert ran.stdout == ""
    elif arguments:
        assert [(letter["id"], letter["outcome"]) for letter in json.loads(ran.stdout)] == [("m-old", "discarded")]
    else:
        assert rows(ran.stdout) == [f"{HEADINGS} | OUTCOME", f"{OLD} | discarded"]
    assert aws.fulfillment.visible == (["m-new", "m-old"] if operation == "receive_message" else ["m-new"])


FIXED = json.dumps({"OrderId": "001"})


class Editor:
    """
    Stands for $EDITOR: saves these texts, None to leave it as it is. `shown`: what it was opened with.

    *answer* is what the person types when they are asked whether to edit again.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *texts: str | click.ClickException | None, answer: str = ""
    ) -> None:
        typed, keyboard = os.pipe()
        os.write(keyboard, answer.encode())
        os.close(keyboard)
        monkeypatch.setattr("workers.cli.dead_letter_edit._STDIN", typed)
        self.shown: list[str] = []
        self._texts = iter(texts)
        monkeypatch.setattr("workers.cli.dead_letter_edit.click.edit", self._edit)
        monkeypatch.setattr(
            "click.testing._NamedTextIOWrapper.isatty", lambda stream: stream.name == "<stdin>", raising=False
        )
        self.closed: list[str] = []
        monkeypatch.setattr("workers.operations.letter_edits.resolve_case", self._close)

    def _edit(self, text: str, *, extension: str) -> str | None:
        assert extension == ".json"
        self.shown.append(text)
        saved = next(self._texts)
        if isinstance(saved, click.ClickException):
            raise saved
        return saved

    async def _close(self, _stack: Any, case_id: str, request: Any, _order: Any) -> None:
        self.closed.append(f"{case_id} by {request.actor}: {request.note}")


EDIT = ("replay", "fulfillment", "--id", "m-old", "--edit", "--actor", "ada", "--note", "a typo")


def test_a_letter_is_edited_until_a_worker_can_decode_it(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, editor = Aws(), Editor(monkeypatch, '{"OrderId": 1}\n', f"{FIXED}\n", answer="y\n")
    ran = done(command, *EDIT, stack=aws.stack)
    assert editor.shown == ["[****]", '{"OrderId": 1}\n'], "masked, and then as it was left"
    first, second, asked, _ = ran.stderr.splitlines()
    assert first == "m-old: UNDECODABLE_MESSAGE: neither a JSON object nor an OrderId"
    assert second.startswith("m-old: no worker could decode it: OrderId is a number, must be 1 to 64 of ")
    assert asked.startswith("Edit it again? [Y/n]: 1 dead letter ")
    ((operation, request),) = aws.requests
    assert (operation, request["MessageBody"]) == ("send_message", FIXED)
    assert request["MessageAttributes"]["EditedBy"]["StringValue"] == "ada"
    assert editor.closed == ["message-o-1 by ada: Replayed after an edit of its whole body: a typo"]
    assert rows(ran.stdout)[1].endswith("| message-o-1 | edited and replayed")
    assert CARD not in ran.output


@pytest.mark.parametrize(
    ("text", "answer"),
    [(None, ""), ("[****]\n", ""), ("{}", "n\n"), ("", "no\n"), ("{}", "")],
    ids=["not saved", "unchanged", "given up", "emptied", "no answer"],
)
def test_a_letter_that_is_left_as_it_is_stays(monkeypatch: pytest.MonkeyPatch, text: str | None, answer: str) -> None:
    left = "m-old: not changed, so it stays here" if text not in ("{}", "") else "m-old: it stays here"
    aws, editor = Aws(), Editor(monkeypatch, text, answer=answer)
    ran = done(command, *EDIT, stack=aws.stack)
    assert (aws.requests, editor.closed, aws.fulfillment.hidden) == ([], [], [])
    assert ran.stdout == ""
    assert left in ran.stderr.replace("Edit it again? [Y/n]: ", "").splitlines()
    assert "another consumer" not in ran.stderr


def test_a_limit_is_said_though_no_letter_was_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, _ = Aws(), Editor(monkeypatch, None)
    ran = done(command, "replay", "fulfillment", "--edit", "--limit", "1", stack=aws.stack)
    assert "The list is incomplete: it ended after 1 (--limit)" in ran.stderr


def test_an_editor_that_fails_ends_the_command_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, editor = Aws(), Editor(monkeypatch, click.ClickException("vi: Editing failed"))
    ran = run(command, *EDIT, stack=aws.stack)
    assert str(ran.exception) == "nothing was sent: vi: Editing failed"
    assert (aws.requests, editor.closed, aws.fulfillment.hidden) == ([], [], [])


def test_ctrl_c_is_for_the_editor_while_one_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []

    def interrupted(*_: object) -> None:
        got.append("interrupt")

    before = signal.signal(signal.SIGINT, interrupted)

    def editor(_text: str, **_: str) -> None:
        signal.raise_signal(signal.SIGINT)
        got.append("edited")
        terminate: Any = signal.getsignal(signal.SIGINT)  # As the handler of SIGTERM does.
        terminate(signal.SIGTERM, None)

    monkeypatch.setattr("workers.cli.dead_letter_edit.click.edit", editor)
    letter: Any = SimpleNamespace(id="m-1", reason="why")
    try:
        with ctrl_c_for_editor():
            assert edit_letter(letter, "{}", str) is None
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is interrupted
    finally:
        signal.signal(signal.SIGINT, before)
    assert got == ["edited", "interrupt", "interrupt"]


def test_editing_needs_a_terminal_and_is_no_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run(command, *EDIT, stack=Aws().stack)
    assert (refused.exit_code, "--edit needs a terminal" in refused.stderr) == (2, True)
    Editor(monkeypatch)
    refused = run(command, *EDIT, "--dry-run", stack=Aws().stack)
    assert "--edit and --dry-run exclude each other" in refused.stderr
    refused = run(command, *EDIT, "--note", " ", stack=Aws().stack)
    assert "the note must be 1 to 1000 characters" in refused.stderr


def test_a_list_that_ended_at_its_limit_says_so() -> None:
    ran = Aws().list("fulfillment", "--limit", "1")
    assert ran.stderr == (
        "OrderFulfillmentQueue-DLQ: 1 selected of 1 looked at, of about 2 dead letters."
        " The list is incomplete: it ended after 1 (--limit)\n"
    )


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("list", "[OPTIONS] [fulfillment|escalation|QUEUE]"),
        ("replay", "[OPTIONS] {fulfillment|escalation|QUEUE}"),
    ],
)
def test_the_help_says_whether_a_queue_must_be_named(name: str, usage: str) -> None:
    assert done(command, name, "--help").stdout.splitlines()[0].endswith(f" {name} {usage}")


def test_the_limit_is_for_each_queue_as_its_help_says() -> None:
    assert rows(Aws().list("--limit", "1").stdout) == [HEADINGS, OTHER, NEW]
    help_text = " ".join(run(command, "list", "--help").stdout.split())
    assert "At most N dead letters of a queue are selected" in help_text
