"""Asks a person before dead letters are replayed or discarded."""

import sys
from datetime import datetime

import click

from workers.cli.dead_letter_view import print_letters
from workers.cli.output import CliError
from workers.operations.actions import Action, FoundLetters, dry_run


def must_ask(*, yes: bool, execute: bool, only_look: bool, deletes_all: bool) -> bool:
    """
    Return whether a person must confirm. `--execute`, the former name of `--yes`, is not enough to delete all.

    Raises:
        UsageError: There is no terminal to ask.
    """
    if only_look and (yes or execute):
        raise click.UsageError("--yes and --dry-run exclude each other")
    if yes or only_look or (execute and not deletes_all):
        return False
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for confirmation: use --yes, or --dry-run to only look")
    return True


def ask(found: FoundLetters, action: Action, now: datetime, *, wide: bool) -> None:
    """
    Show what *action* would do with the dead letters, and ask for confirmation.

    Raises:
        CliError: The answer was no.
    """
    print_letters([(plan.letter, plan.result) for plan in dry_run(found, action)], "outcome", now, wide=wide, err=True)
    count, name = len(found.letters), found.source.queue.dead_letter_queue
    what = f"{count} dead {'letter' if count == 1 else 'letters'} of {name}"
    for_good = "" if action.before_deletion else " for good"
    if not click.confirm(f"{action.verb.capitalize()} {what}{for_good}?", err=True):
        raise CliError("nothing was done")
