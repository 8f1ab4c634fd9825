"""The group of commands. Each command is imported when it is called."""

import importlib

import click
from click.shell_completion import CompletionItem

# Each command's module and summary. `orders --help` prints these summaries, so it need not import the commands.
_COMMANDS = {
    "submit": ("submit", "Submit the orders of a file, each once."),
    "bulk": ("bulk", "List and show intakes: orders that are submitted in bulk."),
    "list": ("list", "List the open orders."),
    "show": ("show", "Show the whole story of one order."),
    "cancel": ("cancel", "Cancel an order that is not fulfilled yet."),
    "requeue": ("requeue", "Send the message of an order to the workers again."),
    "escalate": ("escalate", "Escalate an order that hangs."),
    "sweep": ("sweep", "Show the last sweep of stuck orders, or start one."),
    "erase": ("erase", "Erase a person's data: an order and its cases."),
    "status": ("status", "Show the whole system on one screen."),
    "escalations": ("escalations", "List, show and resolve escalation cases."),
    "workers": ("pauses", "Pause and resume the workers of a queue."),
    "queues": ("queues", "Show the queues and their dead-letter queues."),
    "dead-letters": ("dead_letters", "List, replay or discard dead letters."),
    "logs": ("logs", "Show the workers' log lines in a readable form."),
    "completion": ("completion", "Print what completes `orders` in a shell."),
}
_EPILOG = """\b
Examples:
  orders submit orders.csv
  orders list --status ESCALATED --older-than 2h
  orders show 001

AWS access comes from the SDK's own variables and profiles (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, ...). The
variables ORDER_TABLE, ESCALATION_TABLE, ORDER_FULFILLMENT_QUEUE, ESCALATION_QUEUE (a name, a URL or an ARN) and
STATE_MACHINE (a name or an ARN) name the stack's resources; the defaults are those of a deployment without a prefix.

Exit codes: 0 done, or nothing to do; 1 failed, only partly done, or not found; 2 bad usage; 130 Ctrl-C;
143 SIGTERM."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature.
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"workers.cli.{_COMMANDS[cmd_name][0]}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command without importing all of them, as click would."""
        known = [
            CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return known + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
def orders() -> None:
    """See, explain and finish orders, on AWS or on a local AWS, whichever the environment selects."""
