"""`orders erase`: erases an order and its cases, at a person's request."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from workers import clock
from workers.cli.options import json_option, order_argument, yes_option
from workers.cli.output import CliError, note, print_json, print_line, progress, results
from workers.cli.people import actor_option
from workers.cli.running import run
from workers.cli.tables import print_table
from workers.domain.cards import mask, mask_all
from workers.domain.resolutions import MAX_ACTOR_CHARS

if TYPE_CHECKING:
    from workers.operations.erase import Erasure, Found
    from workers.operations.remains import Remainder
    from workers.operations.stack import Stack


def _actor(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not 1 <= len(value.strip()) <= MAX_ACTOR_CHARS:
        raise click.BadParameter(f"must be 1 to {MAX_ACTOR_CHARS} characters")
    return mask(value.strip())


@click.command(
    "erase",
    short_help="Erase a person's data: an order and its cases.",
    epilog="""\b
Examples:
  orders erase 001
  orders erase 001 --actor ada --yes --json | jq -c . >> erasures.jsonl""",
)
@order_argument
@actor_option("with the order", callback=_actor)
@yes_option
@json_option("an object with what was done")
@click.pass_obj
def command(stack: "Stack", *, order_id: str, actor: str, yes: bool, as_json: bool) -> None:
    """
    Erase what the tables hold about the order ORDER_ID: the order, its cases and their evidence.

    A marker remains for 90 days: the order's id and status, the ids of its executions and shipment, the channels that
    were notified, and who has erased it and when. It keeps a late message, or another submission under this id, from
    shipping the order again. The command also says what others
    still keep, and for how long: the history of executions, backups, logs, queues, channels and the provider.

    An open order, or one with an open case, is refused: cancel or resolve it first. ORDER_ID can also be the id of a
    case without an order. The command reads the whole case table. If it is interrupted, repeat it.

    The last line on standard error is an audit record in JSON, without any erased data.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for confirmation: use --yes")
    from workers.operations.erase import erase, find_to_erase  # noqa: PLC0415 - the SDK takes a while to import.
    from workers.operations.remains import what_remains  # noqa: PLC0415

    with progress("reading", None) as advance:
        found = run(stack, find_to_erase(stack, order_id, advance))
        remains = run(stack, what_remains(stack, found))
    if not yes and not found.erased_before:
        _confirm(found)
    erasure = run(stack, erase(stack, found, actor))
    _report(found, erasure, remains, as_json=as_json)


def _confirm(found: "Found") -> None:
    status = "not in the table" if found.order is None else found.order.get("Status")
    note(f"Order {found.order_id}: {status}")
    for case in found.cases:
        note(f"  with case {case['CaseId']}")
    if not click.confirm("Erase it for good?", err=True):
        raise CliError("nothing was erased")


def _report(found: "Found", erasure: "Erasure", remains: Sequence["Remainder"], *, as_json: bool) -> None:
    audit = {
        "timestamp": erasure.at,
        "level": "info",
        "event": "order.erased",
        "order_id": erasure.order_id,
        "actor": erasure.actor,
        "cases": list(erasure.case_ids),
    }
    try:
        with results():
            if as_json:
                print_json(
                    {
                        "order_id": erasure.order_id,
                        "changed": not found.erased_before,
                        "actor": erasure.actor,
                        "erased_at": erasure.at,
                        "cases": erasure.case_ids,
                        "remains": remains,
                    }
                )
            else:
                _print(found, erasure, remains)
    finally:
        note(json.dumps(mask_all(audit)))


def _print(found: "Found", erasure: "Erasure", remains: Sequence["Remainder"]) -> None:
    if found.erased_before:
        print_line(f"Order {erasure.order_id}: already erased at {clock.shown(erasure.at)} by {erasure.actor}")
    else:
        cases = len(erasure.case_ids)
        print_line(f"Order {erasure.order_id}: erased, with {cases} case{'' if cases == 1 else 's'}")
    print_line("What others keep of it:")
    rows = [(remainder.where, remainder.what, remainder.until) for remainder in remains]
    print_table(("where", "what", "until"), rows, text=("what", "until"))
