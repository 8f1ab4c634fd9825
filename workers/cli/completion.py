"""`orders completion`: prints what makes a shell complete the commands, options and values of `orders`."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
VARIABLE = "_ORDERS_COMPLETE"  # click's own: the script sets it to ask `orders` for what may follow.


@click.command(
    "completion",
    epilog="""\b
Examples:
  eval "$(orders completion bash)"                                    in ~/.bashrc
  eval "$(orders completion zsh)"                                     in ~/.zshrc, after compinit
  orders completion fish > ~/.config/fish/completions/orders.fish""",
)
@click.argument("shell", type=click.Choice(SHELLS, case_sensitive=False))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """
    Print a script for SHELL that completes the commands of `orders`, their options and the words these take.

    Words are statuses, reasons, severities, queues and the like, and the names of files. Ids are not completed: nothing
    is asked of AWS. The script calls `orders` each time, so it stays the same after an update.
    """
    # The script itself, without click's check of which bash this machine has: that starts one.
    script = ShellComplete.source(SHELLS[shell](ctx.find_root().command, {}, "orders", VARIABLE))
    click.echo(script, nl=False)
