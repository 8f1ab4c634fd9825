"""
The options that several commands have: one name, one kind of value and one wording for each.

An option that selects says "Only ...". tests/workers/cli/test_vocabulary.py checks the options of all commands, and
docs/operating.md has the rules.
"""

from collections.abc import Callable
from typing import Any

import click

from workers.cli.ages import Age
from workers.cli.choices import ReasonName
from workers.domain.reasons import Severity, Source

_Option = Callable[[Any], Any]

order_argument = click.argument("order_id", metavar="ORDER_ID")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation. Needed without a terminal.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would be done.")
reason_option = click.option(
    "--reason", type=ReasonName(), metavar="REASON", help="Only with this reason, such as INVALID_PRICE."
)
severity_option = click.option(
    "--severity",
    type=click.Choice([severity.value for severity in Severity], case_sensitive=False),
    help="Only cases of this severity.",
)
source_option = click.option(
    "--source",
    type=click.Choice([source.value for source in Source], case_sensitive=False),
    help="Only cases that were reported by this part of the system.",
)


def json_option(what: str) -> _Option:
    """Return the option `--json`; *what* is printed."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print JSON for scripts: {what}.")


def note_option(stored: str, **more: Any) -> _Option:
    """Return the option `--note`; *stored* says where the text is stored."""
    return click.option("--note", "text", metavar="TEXT", help=f"Why. Stored {stored}.", **more)


def order_option(what: str) -> _Option:
    """Return the option `--order`, which selects *what* is about an order."""
    return click.option("--order", "--order-id", "order_id", metavar="ORDER_ID", help=f"Only {what} this order.")


def older_than_option(what: str) -> _Option:
    """Return the option `--older-than`, which selects what *what* says, longer ago."""
    return click.option(
        "--older-than", type=Age(), metavar="AGE", help=f"Only if {what} longer ago than this: 90s, 10m, 2h, 3d."
    )


def limit_option(what: str, **more: Any) -> _Option:
    """Return the option `--limit`, which bounds how many of *what* there are."""
    return click.option("--limit", metavar="N", help=f"At most N {what}.", **more)
