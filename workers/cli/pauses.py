"""`orders workers`: pauses and resumes the workers of a queue."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from workers import clock
from workers.cli.choices import AnyQueueName
from workers.cli.options import json_option, note_option
from workers.cli.output import print_json, print_line, results
from workers.cli.people import actor_option
from workers.cli.running import run
from workers.domain.resolutions import Action, Request, ResolutionError

if TYPE_CHECKING:
    from workers.operations.pauses import PauseChange
    from workers.operations.stack import Stack


@click.group("workers", short_help="Pause and resume the workers of a queue.")
def command() -> None:
    """
    Pause and resume the workers of a queue, without a deployment.

    While a queue is paused, its workers receive nothing; what they are handling ends. They stay healthy and ready.
    Messages wait in the queue, for as long as it keeps them (10 days), and no order loses an attempt.
    """


def _options(change: Callable[..., None]) -> Callable[..., None]:
    """Add what both commands take: a queue, who changes it, and why."""
    for option in (
        json_option("an object with what was done"),
        actor_option("in a tag of the queue"),
        note_option("in a tag of the queue", default="no reason given"),
        click.argument("queue", type=AnyQueueName()),
    ):
        change = option(change)
    return change


@command.command(
    "pause",
    short_help="Let the workers of a queue receive nothing more.",
    epilog="""\b
Examples:
  orders workers pause fulfillment --note "the provider changes its prices"
  orders workers pause Returns --actor ada --note "a migration" """,
)
@_options
@click.pass_obj
def pause_command(stack: "Stack", *, queue: str, text: str, actor: str, as_json: bool) -> None:
    """
    Pause the workers of QUEUE: fulfillment, escalation, or any queue by its name, URL or ARN.

    The tag workers:paused on the queue says who paused it, when and why. Every worker of the queue reads it once a
    minute and when it starts. If the queue is paused already, that pause stays as it is.
    """
    from workers.operations.pauses import pause  # noqa: PLC0415 - the SDK takes a while to import.

    change = run(stack, pause(stack, queue, _request(actor, text)))
    with results():
        if as_json:
            print_json(_document(change, paused=True))
        elif not change.changed:
            print_line(f"Nothing was changed: {change.queue} is paused already, {_by(change)}")
        else:
            print_line(f"{change.queue}: paused {_by(change)}")
            print_line("Its workers receive nothing more within about a minute, and end what they are handling")


@command.command(
    "resume",
    short_help="Let the workers of a queue receive again.",
    epilog="""\b
Examples:
  orders workers resume fulfillment --note "the new prices are in" """,
)
@_options
@click.pass_obj
def resume_command(stack: "Stack", *, queue: str, text: str, actor: str, as_json: bool) -> None:
    """
    Resume the workers of QUEUE: fulfillment, escalation, or any queue by its name, URL or ARN.

    They receive again within about a minute. The tag workers:resumed says who resumed the queue last, when and why. If
    the queue is not paused, nothing changes.
    """
    from workers.operations.pauses import resume  # noqa: PLC0415 - the SDK takes a while to import.

    change = run(stack, resume(stack, queue, _request(actor, text)))
    with results():
        if as_json:
            print_json(_document(change, paused=False))
        elif not change.changed:
            print_line(f"Nothing was changed: {change.queue} is not paused")
        else:
            print_line(f"{change.queue}: resumed. It was paused {_by(change)}")
            print_line("Its workers receive again within about a minute")


def _request(actor: str, text: str) -> Request:
    try:
        return Request(action=Action.CLOSE, actor=actor, note=text)
    except ResolutionError as error:
        raise click.UsageError(str(error)) from None


def _by(change: "PauseChange") -> str:
    from workers.operations.pauses import described  # noqa: PLC0415 - as above.

    return "" if change.paused is None else described(change.paused)


def _document(change: "PauseChange", *, paused: bool) -> dict[str, object]:
    person = change.paused
    return {
        "queue": change.queue,
        "changed": change.changed,
        "paused": paused,
        "paused_since_at": None if person is None else clock.rfc_3339(person.since),
        "paused_by": None if person is None else person.actor,
        "paused_note": None if person is None else person.note,
    }
