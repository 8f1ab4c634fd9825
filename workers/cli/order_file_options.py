"""The options of commands that read order files, and what they say about a file before they act."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from workers.cli.output import note
from workers.operations.files.encodings import named_encoding
from workers.operations.files.header import read_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.operations.files.encodings import Encoding
    from workers.operations.files.findings import Findings


_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _columns(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dict[str, str]:
    try:
        return read_columns(value or "")
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _encoding(_context: click.Context, _parameter: click.Parameter, value: str | None) -> "Encoding | None":
    try:
        return None if value is None else named_encoding(value)
    except LookupError:
        raise click.BadParameter(f"{value!r} is not an encoding, such as utf-8 or windows-1252") from None


def order_file_options(command: _Command) -> _Command:
    """Add the options for reading order files to *command*, as `columns`, `encoding` and `anyway`."""
    for option in (
        click.option(
            "--anyway",
            is_flag=True,
            help="Also submit a file of which most orders would be escalated, or whose card numbers look rounded.",
        ),
        click.option(
            "--encoding",
            callback=_encoding,
            metavar="NAME",
            help="The encoding of the file, such as windows-1252. By default, it is found out.",
        ),
        click.option(
            "--columns",
            callback=_columns,
            metavar="FIELD=HEADER,...",
            help='Columns of CSV with other headers, such as OrderId=Number,CC="Card number".',
        ),
    ):
        command = option(command)
    return command


def report_findings(files: Iterable[tuple[str, "Findings"]], *, anyway: bool) -> str | None:
    """Say what was corrected in each file, and what looks wrong. Return why they should not be submitted, if so."""
    refusals = list[str]()
    for name, findings in files:
        if notice := findings.notice():
            note(f"{name}: {notice}")
        for warning in findings.warnings():
            note(f"{name}: {warning}")
        if refusal := findings.refusal():
            refusals.append(f"{name}: {refusal}")
    if refusals and not anyway:
        return "; ".join(refusals)
    for refusal in refusals:
        note(refusal)
    return None
