"""One vocabulary for all commands: an option has one meaning, one kind of value and one wording."""

import json
import re
from collections.abc import Iterator

import click
import pytest

from tests.docs.pages import blocks, page
from tests.json_documents import SCHEMAS
from workers.cli.app import orders
from workers.cli.choices import QUEUES, STATUSES, AnyQueueName, QueueName, ReasonName, ReasonText, StatusName
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.errors import plain_name
from workers.operations.stack import Stack

FLAG = ""
# Each option: what stands for its value, and how its help begins. Choices show their words instead.
SELECTING = {
    "--status": ("STATUS", "Only orders with this status"),
    "--state": ("[open|resolved]", "Only cases in this state"),
    "--severity": (f"[{'|'.join(Severity)}]", "Only cases of this severity"),
    "--source": (f"[{'|'.join(Source)}]", "Only cases that were reported by this part of the system"),
    "--reason": ("REASON", "Only with this reason, such as"),
    "--older-than": ("AGE", "Only if the "),
    "--since": ("TIME", "Only from this time on"),
    "--until": ("TIME", "Only before this time"),
    "--id": ("MESSAGE_ID", "Only the dead letter with this id"),
    "--escalations": (FLAG, "Only escalations"),
    "--limit": ("N", "At most N "),
    "--stuck": (FLAG, "Only orders that the sweep would escalate"),
}
# A noun that selects in a list, and is given in a command that changes something.
BOTH = {
    "--name": ("TEXT", ("Only if the customer's name contains", "resubmit: the correct Name")),
    "--item": ("TEXT", ("Only if the item's name contains", "resubmit: the correct ItemName")),
    "--order": ("ORDER_ID", ("Only ", "resubmit: the OrderId")),
    "--actor": ("NAME", ("Only if the actor's name contains this: ", "Who does it. Stored ")),
}
DOING = {
    "--note": ("TEXT", "Why. Stored "),
    "--yes": (FLAG, "Do not ask for confirmation. Needed without a terminal"),
    "--dry-run": (FLAG, "Only show what would be done"),
    "--shipment-id": ("SHIPMENT_ID", "fulfill: the id of the shipment"),
    "--price": ("PRICE", "resubmit: the correct price"),
    "--card-number-stdin": (FLAG, "resubmit: read the card number from standard input"),
    "--card-numbers-fd": ("N", "resubmit: read lines"),
    "--from": ("FILE|-", "A CSV file with a decision for each case"),
    "--edit": (FLAG, "Correct each message in $EDITOR"),
    "--columns": ("FIELD=HEADER,...", "Columns of CSV with other headers"),
    "--encoding": ("NAME", "The encoding of the file"),
    "--anyway": (FLAG, "Also submit a file of which"),
    "--rejects": ("FILE", "Write what is not submitted to a new FILE"),
    "--rate": ("N", "At most N messages a second"),
    "--concurrency": ("N", "At most N orders"),
    "--bulk": (FLAG, "Upload the orders as one file"),
    "--submission": ("N", "The N-th submission"),
    "--wait": (FLAG, "Wait until"),
    "--follow": (FLAG, "Wait for"),
    "--now": (FLAG, "Start a sweep"),
}
SHOWING = {
    "--json": (FLAG, "Print JSON for scripts: "),
    "--csv": (FLAG, "Print CSV with a header"),
    "--wide": (FLAG, "One line per row"),
    "--by": ("[reason|severity|source|status]", "Count the open cases in groups"),
    "--bodies": (FLAG, "Show the start of each message, masked"),
    "--tracebacks": (FLAG, "Show the whole traceback"),
    "--logs": ("FILE|-", "Also show the workers' log lines"),
    "--watch": ("[SECONDS]", "Show it again every "),
    "--worker": ("NAME=URL", "Where a worker has its health port"),
}
ONE = SELECTING | DOING | SHOWING
OTHER_NAMES = {
    "--order": "--order-id",
    "--item": "--item-name",
    "--dry-run": "--check",
}  # Accepted too: the same noun, longer.
ARGUMENTS = {
    "ORDER_ID", "CASE_ID", "[CASE_ID]...", "FILE|-", "FILE|-...", "INTAKE",
    "QUEUE", "{fulfillment|escalation|QUEUE}", "[fulfillment|escalation|QUEUE]", "[QUEUE]...",
    "[[resubmit|fulfill|cancel|close]]", "[resubmit|fulfill|cancel|close]", "{bash|zsh|fish}",
}  # fmt: skip
# What a command does cannot be taken back, so it asks. The others can be repeated without effect.
ASKING = {"cancel", "escalate", "erase", "escalations resolve", "dead-letters replay", "dead-letters discard"}


def commands(command: click.Command = orders, path: str = "") -> Iterator[tuple[str, click.Command, click.Context]]:
    context = click.Context(command, info_name=path or "orders")
    if not isinstance(command, click.Group):
        yield path, command, context
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, f"{path} {name}".strip())


COMMANDS = {path: (command, context) for path, command, context in commands()}


def options(path: str) -> dict[str, click.Option]:
    params = COMMANDS[path][0].params
    return {option.opts[0]: option for option in params if isinstance(option, click.Option) and not option.hidden}


@pytest.mark.parametrize("path", COMMANDS)
def test_an_option_has_one_meaning_one_value_and_one_wording(path: str) -> None:
    for name, option in options(path).items():
        value, wording = ONE[name] if name in ONE else BOTH[name]
        shown = FLAG if option.is_flag else option.make_metavar(COMMANDS[path][1])
        assert shown == value, f"{path} {name}"
        assert (option.help or "").startswith(wording), f"{path} {name}: {option.help}"
        assert set(option.opts[1:]) <= {OTHER_NAMES.get(name)}, f"{path} {name}"
        assert not option.multiple or "Can be repeated." in (option.help or ""), f"{path} {name}"


def test_the_former_name_of_an_option_is_hidden() -> None:
    hidden = {param.opts[0] for command, _ in COMMANDS.values() for param in command.params if is_hidden(param)}
    assert hidden == {"--execute"}


def is_hidden(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and param.hidden


def test_every_word_of_the_vocabulary_is_used() -> None:
    assert {name for path in COMMANDS for name in options(path)} == {*ONE, *BOTH}


@pytest.mark.parametrize("path", COMMANDS)
def test_an_argument_has_one_name(path: str) -> None:
    command, context = COMMANDS[path]
    for param in command.params:
        if isinstance(param, click.Argument):
            assert param.make_metavar(context) in ARGUMENTS, path


def test_what_cannot_be_taken_back_asks_and_yes_answers() -> None:
    assert {path for path in COMMANDS if "--yes" in options(path)} == ASKING


def test_whatever_acts_on_a_selection_can_be_looked_at_before() -> None:
    selecting = {path for path in ASKING if {"--reason", "--older-than"} <= options(path).keys()}
    assert selecting == {path for path in ASKING if "--dry-run" in options(path)} != set()


@pytest.mark.parametrize("path", COMMANDS)
def test_words_are_taken_in_upper_and_lower_case(path: str) -> None:
    for param in COMMANDS[path][0].params:
        assert not isinstance(param.type, click.Choice) or not param.type.case_sensitive, f"{path} {param.name}"
        if param.name == "reason":
            assert isinstance(param.type, ReasonName), path
        if param.name in {"queue", "queues"}:
            assert isinstance(param.type, QueueName), path


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("spell", [str, str.lower, lambda text: f" {text.replace('_', '-').title()} "])
def test_a_reason_has_the_same_spellings_everywhere(reason: Reason, spell: object) -> None:
    assert callable(spell)
    for kind in (ReasonName(), ReasonText()):
        assert kind.convert(spell(reason.value), None, None) == reason


def test_the_begin_of_a_reason_is_enough_if_it_is_the_only_one() -> None:
    assert ReasonName().convert("undecodable", None, None) == Reason.UNDECODABLE_MESSAGE
    for unclear in ("invalid", "", " ", "x"):
        with pytest.raises(click.BadParameter, match="must be one of INVALID_CARD_NUMBER, "):
            ReasonName().convert(unclear, None, None)
    assert ReasonText().convert("delivered 11 times", None, None) == "delivered 11 times"


def test_a_status_is_one_of_all() -> None:
    assert set(STATUSES) == set(OrderStatus)
    assert StatusName().convert("received", None, None) == OrderStatus.RECEIVED


def test_a_queue_is_one_of_two_words_or_any_other_queue() -> None:
    assert [QueueName().convert(word.upper(), None, None) for word in QUEUES] == list(QUEUES)
    others = ["Returns", "arn:aws:sqs:eu-west-1:123456789012:Returns", "http://localhost:4566/000000000000/Returns"]
    assert [QueueName().convert(name, None, None) for name in others] == others
    for kind in (QueueName(), AnyQueueName()):
        assert kind.convert("Returns", None, click.Context(orders)) == "Returns", "nothing is known of a stack"
    arn = "arn:aws:sqs:eu-west-1:123456789012:Orders"
    deployed = click.Context(orders, obj=Stack(environ={"ORDER_FULFILLMENT_QUEUE": arn}))
    assert AnyQueueName().convert(" Fulfillment", None, deployed) == arn
    assert QueueName().convert(arn, None, deployed) == QueueName().convert("Orders", None, deployed) == "fulfillment"
    missing = "Choose from: fulfillment, escalation, or the name of another queue"
    assert QueueName().get_missing_message(click.Argument(["queue"]), None) == missing
    with pytest.raises(click.BadParameter, match=r"'Q\.fifo' must be fulfillment, escalation or the name, the URL or"):
        QueueName().convert("Q.fifo", None, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("UndecodableError", "undecodable error"),
        ("SSOTokenLoadError", "SSO token load error"),
        ("ProfileNotFound", "profile not found"),
        ("OSError", "OS error"),
        ("KeyError", "key error"),
    ],
)
def test_an_error_is_named_in_words(name: str, words: str) -> None:
    assert plain_name(name) == words
    assert plain_name(type(name, (Exception,), {})()) == words


@pytest.mark.parametrize("name", ["docs/operating.md", "docs/json.md"])
def test_no_output_on_a_page_has_the_name_of_a_python_class(name: str) -> None:
    shown = "\n".join([*blocks(page(name), "console"), *blocks(page(name), "json")])
    assert re.findall(r"\b[A-Z][A-Za-z]+(?:Error|Exception)\b", shown) == []


def test_no_field_is_named_after_a_class() -> None:
    assert "class" not in json.dumps(SCHEMAS, default=str)


def test_times_are_written_in_one_way_for_people() -> None:
    shown = "\n".join(blocks(page("docs/operating.md"), "console"))
    assert re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", shown)
    assert re.findall(r"\d{4}-\d\d-\d\dT", shown) == []
