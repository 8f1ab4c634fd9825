"""What `orders escalations resolve` refuses before it asks AWS for anything."""

import pytest
from click.testing import CliRunner

from workers.cli.resolve import resolve_command
from workers.operations.stack import Stack

CARD = "4929123412345678"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["resubmit", "--shipment-id", "S"], "resubmit takes no shipment id: only fulfill does"),
        (["cancel", "--shipment-id", "S"], "cancel takes no shipment id: only fulfill does"),
        (["cancel", "--price", "1"], "cancel does not correct the order: only resubmit does"),
        (["cancel", "--card-number-stdin"], "cancel does not correct the order: only resubmit does"),
        (["fulfill"], "fulfill needs a shipment id of 1 to 128 visible ASCII characters, without spaces"),
        (
            ["fulfill", "--shipment-id", f"S-{CARD}"],
            "the shipment id has 13 or more digits in a row: it would be masked like a card number",
        ),
        (["cancel", "--note", " "], "the note must be 1 to 1000 characters"),
        (["cancel", "--actor", "x" * 129], "the actor must be 1 to 128 characters"),
        (["cancel"], "there is no terminal to ask for confirmation: use --yes"),
        (
            ["ship"],
            (
                "Invalid value for '{resubmit|fulfill|cancel|close}': 'ship' is not one of "
                "'resubmit', 'fulfill', 'cancel', 'close'."
            ),
        ),
    ],
)
def test_options_that_do_not_fit_the_action_are_bad_usage(arguments: list[str], problem: str) -> None:
    stack = Stack(environ={})
    given = ["001", "--actor", "ada", "--note", "as agreed", *arguments]
    ran = CliRunner().invoke(resolve_command, given, obj=stack)
    assert (ran.exit_code, ran.stdout, ran.stderr.splitlines()[-1]) == (2, "", f"Error: {problem}")
