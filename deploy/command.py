"""
The command line `python -m deploy`: deploys the stacks to the AWS that the environment points to.

It can also run the whole system on a local AWS.
"""

import argparse
import contextlib
import errno
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import explained
from deploy.errors import DeployError
from deploy.local import commands as local_commands
from deploy.stacks import commands as stack_commands
from workers.streams import complain, flush_output, open_closed

_UNWRITABLE = {errno.EPIPE, errno.EBADF, errno.EIO, errno.ENOSPC}
_INTERRUPTED, _TERMINATED = 130, 143  # The shell's convention: 128 and the number of the signal, SIGINT or SIGTERM.
_EXAMPLES = """\
examples:
  python -m deploy up --pipeline-only            the workflow, in the account and region of your AWS settings
  python -m deploy up --parameter Image=...      the workflow and its workers on ECS; see deploy/README.md
  AWS_PROFILE=test python -m deploy up --name-prefix test- --pipeline-only
  python -m deploy status --name-prefix test-
  python -m deploy down --yes                    refuses if tables or queues are not empty
  python -m deploy demo                          the whole system on a local AWS, in under a minute
"""


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


def main(arguments: Sequence[str] | None = None, state: Path = local_commands.STATE) -> int:
    """
    Run a command; returns its exit code: 0 done, 1 failed (one line says why), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.

    `state` is the directory in which `run` keeps the state of its local AWS.
    """
    open_closed()
    code = _run(arguments, state)
    failed = flush_output()
    if failed is None or code != 0:
        return code
    _complain_about(failed)
    return 1


def _complain_about(failed: OSError) -> None:
    """Report that standard output takes no more, unless its reader has just ended, as `head` does."""
    if failed.errno != errno.EPIPE:
        complain(f"standard output: {failed.strerror}")


def _run(arguments: Sequence[str] | None, state: Path) -> int:
    options = _parser(state).parse_args(arguments)
    try:
        with _sigterm_as_interrupt():
            code: int = options.command(options)
            return code
    except DeployError as error:
        complain(str(error))
    except (BotoCoreError, ClientError) as error:
        complain(str(explained(error)))
    except KeyboardInterrupt as interrupt:
        if options.interrupted:
            complain(options.interrupted)
        return _TERMINATED if isinstance(interrupt, _Terminated) else _INTERRUPTED
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _complain_about(error)
    return 1


def _parser(state: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy",
        description="Deploy the order pipeline to AWS, or run the whole system on a local AWS.",
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
        "--name-prefix", default="", metavar="PREFIX", help="prefix of every resource name (default: none)"
    )
    interrupted = "Interrupted. AWS finishes what it has started. To look at it: python -m deploy status"

    up = commands.add_parser(
        "up", parents=[prefixed], help="create or update the stacks", description=stack_commands.up.__doc__
    )
    up.add_argument("--pipeline-only", action="store_true", help="deploy without the workers on ECS")
    up.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the templates; repeatable; parameters that are not given keep their value",
    )
    up.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a tag of the stacks and all their resources; repeatable; other tags are kept; KEY= removes one",
    )
    up.add_argument(
        "--role-arn", metavar="ARN", help="the role that CloudFormation takes from now on (default: your permissions)"
    )
    up.add_argument("--yes", action="store_true", help="do not ask before a table or queue is changed")
    up.add_argument(
        "--allow-replacement", action="store_true", help="update even if a table or queue is replaced or removed"
    )
    up.set_defaults(command=stack_commands.up, interrupted=interrupted)
    down = commands.add_parser(
        "down", parents=[prefixed], help="delete the stacks and the tables", description=stack_commands.down.__doc__
    )
    down.add_argument("--yes", action="store_true", help="do not ask before deleting")
    down.add_argument(
        "--delete-data",
        action="store_true",
        help="delete even if tables or queues are not empty, or executions are running",
    )
    down.set_defaults(command=stack_commands.down, interrupted=interrupted)
    status = commands.add_parser(
        "status",
        parents=[prefixed],
        help="show the stacks and their contents",
        description=stack_commands.status.__doc__,
    )
    status.add_argument("--json", dest="as_json", action="store_true", help="print a JSON object, for scripts")
    status.set_defaults(command=stack_commands.status, interrupted="")


def _add_local_commands(commands: Any, state: Path) -> None:
    ported = argparse.ArgumentParser(add_help=False)
    ported.add_argument(
        "--port",
        type=_port,
        help="port of the local AWS on 127.0.0.1 (default: 4566 if it is free, else any free port)",
    )
    for name, run, text in (
        ("local", local_commands.local, "run a local AWS and the stack, for your own tests, until Ctrl-C"),
        ("run", local_commands.run, "run a local AWS, the stack, both workers and the samples; show logs until Ctrl-C"),
    ):
        command = commands.add_parser(name, parents=[ported], help=text, description=run.__doc__)
        command.set_defaults(command=_local_command(run, state), interrupted="")
    demo = commands.add_parser(
        "demo",
        help="like run, but on throwaway state, and it stops by itself",
        description=local_commands.demo.__doc__,
    )
    demo.set_defaults(command=lambda _: local_commands.demo(), interrupted="Interrupted. Everything was stopped")


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text} is not a port: must be 1 to 65535")
    return port


def _local_command(run: Callable[[int | None, Path], int], state: Path) -> Callable[[argparse.Namespace], int]:
    return lambda options: run(options.port, state)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, so that no process is left behind."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
