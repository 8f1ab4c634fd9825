"""
`make acceptance`: proves the whole on the account that the environment points to.

It checks the facts about AWS, deploys the pipeline under a prefix of its own, runs the samples and many orders through
both workers, writes a report, and removes everything. docs/acceptance.md says what it needs.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import explained
from deploy.errors import DeployError
from deploy.local.aws import ROOT
from tests.acceptance import account as accounts
from tests.acceptance import cleaning, costs, pipeline, report
from tests.acceptance.account import Account
from tests.acceptance.findings import Findings
from tests.acceptance.plan import PREFIX, Plan, plan
from tests.aws_facts.runner import run_facts
from workers.domain.cards import mask
from workers.operations.errors import OperationError

INTERRUPTED = 130  # The shell's convention: 128 + SIGINT.
MAX_ORDERS = 100_000


def main(arguments: Sequence[str] | None = None, find: Callable[[], Account] = accounts.from_environment) -> int:
    """
    Run the command on the account that *find* finds.

    Returns its exit code: 0 passed, 1 failed, 2 wrong usage, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        with signals_as_interrupts():
            account = find()
            for line in account.lines():
                note(line)
            return _clean(account, options) if options.clean is not None else _prove(account, options)
    except DeployError as error:
        note(str(error))
    except (BotoCoreError, ClientError) as error:
        note(str(explained(error)))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 1


def note(text: str) -> None:
    """Show a line of progress."""
    sys.stderr.write(f"{mask(text)}\n")  # In one piece: several threads write.
    sys.stderr.flush()


@contextlib.contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that everything is removed."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup ignores SIGHUP.
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance",
        description="Prove the facts about AWS, the pipeline and both workers on the account that the environment "
        "points to; write a report; remove everything.",
    )
    parser.add_argument("--account", metavar="ID", help="confirm this account, without a question; refuse any other")
    parser.add_argument("--clean", metavar="PREFIX", help="only remove what a killed run with this prefix has left")
    parser.add_argument("--report", type=Path, metavar="PATH", help="where to write it (default: in build/)")
    parser.add_argument("--orders", type=_orders, metavar="N", help="how many (default: 1000; on a local AWS 40)")
    parser.add_argument(
        "--facts", default="", metavar="TEXT", help="check only the facts with this in their ids (default: all)"
    )
    return parser


def _orders(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MAX_ORDERS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1 to {MAX_ORDERS}")
    return int(text)


def _clean(account: Account, options: argparse.Namespace) -> int:
    prefix = options.clean
    if not PREFIX.fullmatch(prefix):
        raise DeployError(
            f"Nothing was removed: {prefix!r} is not a prefix of this command, such as acceptance-1a2b3c-"
        )
    note(f"This removes everything whose name begins with {prefix}")
    accounts.confirm(account, options.account)
    removal = cleaning.clean(account, prefix, note)
    note(f"Removed {len(removal.removed)} resources; {len(removal.left)} could not be removed")
    for left in removal.left:
        note(f"left: {left}")
    return 1 if removal.left else 0


def _prove(account: Account, options: argparse.Namespace) -> int:
    planned = plan(is_local=account.is_local, orders=options.orders, facts=options.facts)
    if not planned.facts:
        raise DeployError(f"Nothing was done: no fact has {options.facts!r} in its id")
    _announce(account, planned)
    accounts.confirm(account, options.account)
    path = (options.report or ROOT / "build" / f"{planned.prefix.rstrip('-')}.md").absolute()
    log_path = path.parent / f"{planned.prefix}workers.log"
    run = report.Run(account, planned, Findings(note), accounts.versions(), str(log_path))
    try:
        _write(run, path)
    except OSError as error:
        raise DeployError(f"Nothing was done: the report cannot be written to {path}: {error.strerror}") from error
    note(f"If this is killed: make acceptance CLEAN={planned.prefix}")
    try:
        with _removed_at_the_end(run, path):
            _check_facts(run)
            pipeline.prove(account, planned, run.findings, log_path)
    except (DeployError, OperationError, BotoCoreError, ClientError) as error:
        note(str(explained(error) if isinstance(error, BotoCoreError | ClientError) else error))
    return 0 if run.findings.passed else 1


def _announce(account: Account, planned: Plan) -> None:
    note(f"prefix   {planned.prefix}")
    note(
        f"This checks {len(planned.facts)} facts about AWS, deploys the pipeline, and submits 4 samples and "
        f"{planned.orders} orders, {planned.escalated} of which must be escalated. At the end it removes everything."
    )
    cost = costs.at_most(costs.estimate(planned))
    note(
        f"It costs at most about ${cost:.2f}{': nothing, on a local AWS' if account.is_local else ''} ({costs.SOURCE})"
    )


def _check_facts(run: report.Run) -> None:
    planned, findings = run.plan, run.findings
    with findings.step(f"{len(planned.facts)} facts about AWS"):
        try:
            run_facts(
                run.account.client,
                planned.facts_prefix,
                note,
                found=findings.facts.append,
                facts=planned.facts,
                patience_s=planned.patience_s,
            )
        finally:
            findings.facts.sort(key=lambda result: result.id)
            findings.problems += report.fact_problems(run.account, findings.facts)


@contextlib.contextmanager
def _removed_at_the_end(run: report.Run, path: Path) -> Iterator[None]:
    """Remove everything, whatever happens. Write the report before, in case that the removal is killed, and after."""
    findings = run.findings
    try:
        with findings.run():
            yield
    finally:
        _write(run, path)
        try:
            with findings.step("Removing everything"):
                removal = cleaning.clean(run.account, run.plan.prefix, note)
            findings.removed, findings.left = removal.removed, removal.left
        finally:
            findings.ended_at = time.time()
            _write(run, path)
            for problem in [*findings.problems, *findings.left]:
                note(f"wrong: {problem}")
            note(f"{report.verdict(findings)}; the report is {path}")


def _write(run: report.Run, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.render(run), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
