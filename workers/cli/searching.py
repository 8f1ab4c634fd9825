"""The options with which `orders list` and `orders escalations list` find something, and what they say about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from workers.cli.options import json_option, reason_option
from workers.cli.output import note
from workers.cli.tables import wide_option
from workers.operations.ages import format_age
from workers.operations.search import MAX_READ, Found
from workers.operations.windows import Moment, Window, parse_moment

DEFAULT_LIMIT = 1_000  # Rows of a table.
_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


class When(click.ParamType[Moment]):
    """A time, or how long ago it was."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        try:
            return parse_moment(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Part(click.ParamType[str]):
    """A part of a text. An empty one would match everything; it is probably an unset variable of a script."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail("is empty, must be a part of the text", param, ctx)
        return value


since_option = click.option(
    "--since", type=When(), metavar="TIME", help="Only from this time on: 2h, 3d, 2026-11-22, 2026-11-22T10:00Z."
)
until_option = click.option("--until", type=When(), metavar="TIME", help="Only before this time.")


def search_options(actor: str) -> Callable[[Any], Any]:
    """Add the options; *actor* is the help of `--actor`."""
    options = (
        since_option,
        until_option,
        click.option("--name", type=Part(), metavar="TEXT", help="Only if the customer's name contains this."),
        click.option(
            "--item", "--item-name", "item", type=Part(), metavar="TEXT", help="Only if the item's name contains this."
        ),
        reason_option,
        click.option("--actor", type=Part(), metavar="NAME", help=actor),
        json_option("an array"),
        wide_option,
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header, for spreadsheets and scripts."),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@dataclass(frozen=True, slots=True)
class Form:
    """How a list is printed. A table is for a person: it is bounded. A file has all rows."""

    as_json: bool
    as_csv: bool
    wide: bool = False

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise click.UsageError("--json and --csv exclude each other")

    @property
    def is_table(self) -> bool:
        return not (self.as_json or self.as_csv)

    def limit(self, given: int | None) -> int | None:
        """Return how many rows are printed at most."""
        return DEFAULT_LIMIT if given is None and self.is_table else given

    @property
    def max_read(self) -> int | None:
        """How many items are read at most."""
        return MAX_READ if self.is_table else None


def note_incomplete(found: Found, what: str) -> None:
    """Say why there may be more *what*, and how to see them."""
    if found.is_limited:
        note(f"only the first {found.matched:,} are shown: narrow it with --since and --until, or use --limit or --csv")
    elif found.is_cut:
        note(
            f"incomplete: only {counted(found.read, what)} {'was' if found.read == 1 else 'were'} read;"
            " narrow it with --since and --until, or use --csv or --json for all"
        )


def counted(number: int, what: str) -> str:
    """Return *number* with its noun; *what* is the singular."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def matching(found: Found) -> str:
    return f"{found.matched:,} {'matches' if found.matched == 1 else 'match'}"


def length(seconds: float) -> str:
    """Return the length of a window, for people."""
    days, rest = divmod(round(seconds), _DAY_S)
    if days and not rest:
        return counted(days, "day")
    return str(format_age(seconds)) if not days else f"{round(seconds / _HOUR_S)}h"


def note_not_indexed(found: Found, window: Window, what: str) -> None:
    """Say that the index lacks what ended before the update, if the oldest days of the window are empty."""
    begin = window.bounds[0][:10]
    if found.oldest_final is None or found.oldest_final[:10] > begin:
        empty = "none" if found.oldest_final is None else f"none before {found.oldest_final[:10]}"
        note(f"{empty} found; {what} before the workers were updated to this version are not listed")
