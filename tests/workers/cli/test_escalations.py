"""What `orders escalations list` refuses before it asks AWS for anything."""

from click.testing import CliRunner

from workers.cli.escalations import list_command
from workers.operations.stack import Stack


def test_an_unknown_reason_is_refused_with_the_list_of_reasons() -> None:
    ran = CliRunner().invoke(list_command, ["--reason", "BOGUS"], obj=Stack(environ={}))
    assert (ran.exit_code, ran.stdout) == (2, "")
    problem = ran.stderr.splitlines()[-1].removeprefix("Error: Invalid value for '--reason': ")
    assert problem.startswith("'BOGUS' must be one of INVALID_CARD_NUMBER, INVALID_PRICE, ")
