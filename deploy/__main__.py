"""`python -m deploy`: the stacks on the AWS the environment points to, or the whole system on a local one."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import explained
from deploy.errors import DeployError
from deploy.local import commands as local_commands
from deploy.stacks import commands as stack_commands

_INTERRUPTED = 130  # As a shell counts: 128 and SIGINT.
_EXAMPLES = """\
examples:
  python -m deploy up --pipeline-only            the workflow, in the account and region of your AWS settings
  python -m deploy up --parameter Image=...      the workflow, and workers that run on ECS; see deploy/README.md
  AWS_PROFILE=test python -m deploy up --name-prefix test- --pipeline-only
  python -m deploy status --name-prefix test-
  python -m deploy down --yes                    refuses while tables or queues hold anything
  python -m deploy demo                          the whole system on a local AWS, in under a minute
"""


def main(arguments: Sequence[str] | None = None, state: Path = local_commands.STATE) -> int:
    """
    Run a command; returns its exit code: 0 done, 1 failed (one line says why), 2 wrong usage, 130 interrupted.

    `state` is the directory of the local AWS that `run` keeps.
    """
    options = _parser(state).parse_args(arguments)
    try:
        with _sigterm_as_interrupt():
            code: int = options.command(options)
            return code
    except DeployError as error:
        print(error, file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(explained(error), file=sys.stderr)
    except KeyboardInterrupt:
        if options.interrupted:
            print(options.interrupted, file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # Whoever read our output has left.
        sys.stderr.close()
    return 1


def _parser(state: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy",
        description="Deploy the order pipeline to AWS, or run all of it on a local AWS.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_stack_commands(commands)
    _add_local_commands(commands, state)
    return parser


def _add_stack_commands(commands: Any) -> None:  # The type of add_subparsers' result is private.
    prefixed = argparse.ArgumentParser(add_help=False)
    prefixed.add_argument(
        "--name-prefix", default="", metavar="PREFIX", help="in front of every resource's name (default: none)"
    )
    goes_on = "Interrupted. What AWS has begun it goes on with; look with: python -m deploy status"

    up = commands.add_parser(
        "up", parents=[prefixed], help="create or update the stacks", description=stack_commands.up.__doc__
    )
    up.add_argument("--pipeline-only", action="store_true", help="without the workers on ECS")
    up.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the templates, any number of times; those not given keep their value",
    )
    up.add_argument("--yes", action="store_true", help="do not ask before tables or queues are changed")
    up.add_argument(
        "--allow-replacement", action="store_true", help="even where a table or queue is replaced or removed"
    )
    up.set_defaults(command=stack_commands.up, interrupted=goes_on)
    down = commands.add_parser(
        "down", parents=[prefixed], help="delete the stacks and the tables", description=stack_commands.down.__doc__
    )
    down.add_argument("--yes", action="store_true", help="do not ask")
    down.add_argument(
        "--delete-data", action="store_true", help="even where tables or queues hold something, or executions run"
    )
    down.set_defaults(command=stack_commands.down, interrupted=goes_on)
    status = commands.add_parser(
        "status",
        parents=[prefixed],
        help="show the stacks and what they hold",
        description=stack_commands.status.__doc__,
    )
    status.set_defaults(command=stack_commands.status, interrupted="")


def _add_local_commands(commands: Any, state: Path) -> None:
    ported = argparse.ArgumentParser(add_help=False)
    ported.add_argument(
        "--port", type=_port, help="of the local AWS, on 127.0.0.1 (default: 4566 where it is free, else any)"
    )
    for name, run, text in (
        ("local", local_commands.local, "local AWS and the stack, for your own tests; until Ctrl-C"),
        ("run", local_commands.run, "local AWS, the stack, both workers and the samples; logs until Ctrl-C"),
    ):
        command = commands.add_parser(name, parents=[ported], help=text, description=run.__doc__)
        command.set_defaults(command=_local_command(run, state), interrupted="")
    demo = commands.add_parser(
        "demo", help="the same as run on throw-away state; ends by itself", description=local_commands.demo.__doc__
    )
    demo.set_defaults(command=lambda _: local_commands.demo(), interrupted="Interrupted: everything was stopped")


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text} is no port: 1 to 65535")
    return port


def _local_command(run: Callable[[int | None, Path], int], state: Path) -> Callable[[argparse.Namespace], int]:
    return lambda options: run(options.port, state)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Stop on SIGTERM as on Ctrl-C: in order, leaving no process behind."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
