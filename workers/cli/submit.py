"""`orders submit`: starts an execution of the workflow for each order of a file, and none twice."""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import click
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from tenacity import (
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)

from workers.aws.errors import error_code, translate
from workers.cli.errors import SDK_ERRORS, UNREACHABLE, explained
from workers.cli.order_files import Record, read_orders
from workers.cli.output import CliError, InterruptedCommandError, note, print_json, print_line, progress
from workers.cli.parallel import in_parallel
from workers.cli.records import BadRecord
from workers.cli.stack import pass_old_stack
from workers.cli.waiting import follow, print_ended
from workers.domain.submissions import submission_name
from workers.errors import OutageError
from workers.operations.text import clean

if TYPE_CHECKING:
    from workers.cli.stack import Stack

# About what StartExecution is allowed for good in most regions, at 50 ms each.
DEFAULT_CONCURRENCY, MAX_CONCURRENCY = 10, 100
MAX_SUBMISSION = 999_999
MAX_UNREADABLE = 50  # Answers that cannot be read, before the first that can: more than go out at once.
BACKOFF_S, MAX_BACKOFF_S, PATIENCE_S = 0.2, 20.0, 300.0

# Of this one record. Any other error is that of all of them.
_REFUSED = {"InvalidExecutionInput", "InvalidName", "ValidationException"}
_WAIT_FOR = {"ExecutionLimitExceeded"}
_SAFE = "repeating the command is safe: it submits nothing twice"


@dataclass(slots=True)
class Summary:
    """What became of the records of a file."""

    submitted: int = 0
    already_submitted: int = 0
    bad: list[BadRecord] = field(default_factory=list)
    failed: list[BadRecord] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.submitted} submitted, {self.already_submitted} already submitted, "
            f"{len(self.bad)} bad, {len(self.failed)} failed"
        )


@click.command(
    "submit",
    epilog="""\b
Examples:
  orders submit orders.csv
  orders submit orders.csv --wait
  generate-orders | orders submit -
  orders submit corrected.json --submission 2""",
)
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option(
    "--submission",
    type=click.IntRange(1, MAX_SUBMISSION),
    default=1,
    show_default=True,
    metavar="N",
    help="The N-th time that these orders are submitted. Each number starts an order once, whatever it says by then.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    metavar="N",
    help="Orders submitted at a time.",
)
@click.option("--wait", is_flag=True, help="Wait until the orders have ended, and show how.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as a JSON object, for scripts.")
@pass_old_stack
def command(stack: "Stack", file: BinaryIO, *, submission: int, concurrency: int, wait: bool, as_json: bool) -> int:
    """
    Submit the orders of FILE, or of standard input, each once.

    FILE is a JSON object, a JSON array, objects one after the other (JSON lines), or CSV with a header; UTF-8. An order
    is five strings: OrderId, Name, ItemName, Price, CC; further columns of CSV are left out.

    What the workflow would refuse as malformed is not submitted but named, with its line, and the rest goes on; so is
    an OrderId that is in the file twice. A card number or a price that is wrong is no such thing: the workflow
    escalates the order.

    An execution is named by its OrderId and the number of the submission. So the command can be repeated: what was
    submitted before is not submitted again, even if the file says something else by now. An escalated order is better
    settled by its case: `orders escalations resolve`.
    """
    name = "stdin" if file.name in {"-", "<stdin>"} else clean(file.name)
    good, summary = _read(name, file)
    if good:
        _Submission(stack, name, submission, summary).run(good, concurrency)
    if not as_json:
        print_line(str(summary))
    answer = asdict(summary)
    if wait:
        refused = {each.order_id for each in summary.failed}
        ended = follow(
            stack,
            {
                each.order_id: stack.execution_arn(submission_name(each.order_id, submission))
                for each in good
                if each.order_id not in refused
            },
        )
        answer["ended"] = [asdict(each) for each in ended]
        if not as_json:
            print_ended(ended)
    if as_json:
        print_json(answer)
    return 1 if summary.bad or summary.failed else 0


def _read(name: str, file: BinaryIO) -> tuple[list[Record], Summary]:
    """Read all of the file before anything is started, and name what is bad in it."""
    good: list[Record] = []
    summary = Summary()
    with progress(f"reading {name}", None):
        for each in read_orders(name, file.read()):
            if isinstance(each, Record):
                good.append(each)
            else:
                summary.bad.append(each)
    for bad in summary.bad:
        _name(name, bad)
    if not good and not summary.bad:
        note(f"{name} holds no order")
    return good, summary


def _name(file: str, bad: BadRecord) -> None:
    note(f"{file}:{bad.line}: {f'order {bad.order_id}: ' if bad.order_id else ''}{bad.reason}")


class _Submission:
    """One run over the good records. What it has done so far is in *summary*, at any moment."""

    def __init__(self, stack: "Stack", file: str, number: int, summary: Summary) -> None:
        self._stack = stack
        self._file = file
        self._number = number
        self._summary = summary
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._throttled = False
        self._unreadable = 0
        self._retrying = Retrying(
            retry=retry_if_exception(self._passes),
            wait=wait_random_exponential(multiplier=BACKOFF_S, max=MAX_BACKOFF_S),
            sleep=sleep_using_event(self._stop),
            stop=stop_any(stop_when_event_set(self._stop), stop_after_delay(PATIENCE_S)),
            before_sleep=lambda retry: self._slow_down(retry.outcome.exception() if retry.outcome else None),
            reraise=True,
        )

    def run(self, records: Sequence[Record], concurrency: int) -> None:
        """
        Submit *records*.

        Raises:
            CliError: It could not go on, or was interrupted; the text says how far it came.
        """
        try:
            self._stack.state_machine_arn  # noqa: B018 - looked up once, before there are threads.
            with progress("submitting", len(records)) as advance:
                for _ in in_parallel(self._submit, records, at_most=concurrency, stop=self._stop):
                    advance(1)
        except KeyboardInterrupt:
            raise InterruptedCommandError(f"interrupted: {self._so_far(records)}; {_SAFE}") from None
        except SDK_ERRORS as error:
            raise CliError(f"{explained(error, self._stack)} ({self._so_far(records)}; {_SAFE})") from error

    def _so_far(self, records: Sequence[Record]) -> str:
        return f"{self._summary} of {len(records) + len(self._summary.bad)}"

    def _submit(self, record: Record) -> None:
        try:
            self._retrying(
                self._stack.stepfunctions.start_execution,
                stateMachineArn=self._stack.state_machine_arn,
                name=submission_name(record.order_id, self._number),
                input=record.text,
            )
        except ClientError as error:
            self._refused(record, error)
        else:
            with self._lock:
                self._summary.submitted += 1

    def _refused(self, record: Record, error: ClientError) -> None:
        code = error_code(error)
        if code == "ExecutionAlreadyExists":
            with self._lock:
                self._summary.already_submitted += 1
        elif code in _REFUSED:
            failed = BadRecord(record.line, f"Step Functions refuses it ({code})", record.order_id)
            with self._lock:
                self._summary.failed.append(failed)
            _name(self._file, failed)
        else:
            raise error

    def _slow_down(self, error: BaseException | None) -> None:
        with self._lock:
            told, self._throttled = self._throttled, True
        if not told:
            code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
            note(f"StartExecution: {code}; going on more slowly")

    def _passes(self, error: BaseException) -> bool:
        """
        Tell whether AWS will take the same request later: it throttles us, or has trouble of its own.

        One that cannot be reached is not waited for at the start: then the environment is wrong, most likely. Nor, for
        long, is one whose answers cannot be read: then something else answers.
        """
        if isinstance(error, ClientError):
            return error_code(error) in _WAIT_FOR or type(translate(error)) is OutageError
        begun = self._summary.submitted + self._summary.already_submitted > 0
        if isinstance(error, ResponseParserError):
            with self._lock:
                self._unreadable += 1
            return begun or self._unreadable <= MAX_UNREADABLE
        return begun and isinstance(error, UNREACHABLE)
