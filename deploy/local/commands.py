"""`local`, `run` and `demo`: the system on a local AWS. None of them can touch a real account."""

import contextlib
import fcntl
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.local import aws as local_aws
from deploy.local import samples
from deploy.local.aws import DEFAULT_PORT, ROOT, LocalAws
from deploy.local.console import check_token, local_console
from deploy.local.log_lines import LogLine, shown
from deploy.local.workers import (
    HEALTH_URLS,
    RETENTION,
    RETENTION_PARAMETER,
    Workers,
    check_settings,
    local_workers,
    retention,
)
from deploy.progress import Progress
from deploy.stacks import pipeline, sweep
from deploy.stacks.changes import AGREED, Review
from workers.log_text import wants_color
from workers.testing import sdk
from workers.testing.sdk import REGION
from workers.testing.stack import variables

STATE = ROOT / ".local-aws"
READY = "# The local AWS is ready"  # The last line of what `local` prints: scripts wait for it.
CHECK_S = 1.0  # How often `run` looks whether the local AWS runs.
UP_SHOWN_AFTER_S = 10.0  # It takes three seconds on an idle machine.


def local(port: int | None, state: Path = STATE) -> int:
    """Run a local AWS with the stack until Ctrl-C. Print the variables to export once it is ready. Nothing is kept."""
    progress = Progress()
    with _stack(progress, port=port, preferred_port=DEFAULT_PORT) as (server, deployment):
        text = _exports(server, deployment)
        with _published(text, state) as published:
            print(f"{text}{READY}", flush=True)
            _show_endpoint(progress, server, published=published)
            progress.note("Press Ctrl-C to stop")
            with contextlib.suppress(KeyboardInterrupt):
                server.wait()
    return 0


def run(port: int | None, state: Path = STATE) -> int:
    """Run the whole system and the four samples, then show the workers' logs until Ctrl-C. The state is kept."""
    check_settings(os.environ)
    check_token(os.environ)
    progress = Progress()
    log_path = state / "workers.log"

    with (
        _stack(progress, port=port, preferred_port=DEFAULT_PORT, state=state) as (server, deployment),
        local_console(progress.note) as console,
    ):
        environment = server.environment | variables(deployment.outputs)

        def on_line(line: LogLine) -> None:
            _show_line(line)
            if console:
                console.see(line)

        with (
            local_workers(environment, log_path, on_line, restart=True, note=progress.note, console=console) as workers,
            _published(_exports(server, deployment) + _health_export(workers), state) as published,
        ):
            outcomes = _run_samples(server, deployment, workers, progress)
            _console().print(samples.table(outcomes))
            _show_endpoint(progress, server, published=published)
            progress.note(f"Health checks and metrics: {_health(workers, ', ')}")
            progress.note(f"The workers' logs until Ctrl-C (as JSON in {_relative(log_path)}):")
            if console:
                console.note_when_ready()
            with contextlib.suppress(KeyboardInterrupt):
                _show_lines(server, workers)
    return 0


def _show_lines(server: LocalAws, workers: Workers) -> None:
    """Show the workers' lines. Raises `DeployError` once the workers have ended, or the local AWS under them."""
    while True:
        with contextlib.suppress(TimeoutError):
            if workers.read(CHECK_S) is None:
                raise DeployError(f"The workers have ended:\n{workers.reason()}")
        server.check()


def demo() -> int:
    """
    Run the whole system and the four samples on throwaway state, then stop.

    The exit code is 0 only if all four samples ended as expected.
    """
    check_settings(os.environ)
    progress = Progress()
    logs = Path(tempfile.mkdtemp(prefix="order-fulfillment-demo-"))
    try:
        problems = _demonstrate(logs, progress)
    except DeployError as error:
        raise DeployError(f"{error}\nThe logs are in {logs}") from error
    except BaseException:
        shutil.rmtree(logs, ignore_errors=True)
        raise
    if problems:
        raise DeployError("\n".join([*problems, f"The logs are in {logs}"]))
    shutil.rmtree(logs, ignore_errors=True)
    progress.note("All four samples ended as expected")
    return 0


def _demonstrate(logs: Path, progress: Progress) -> list[str]:
    """Run the samples and show the table; returns every difference from what is expected."""
    with _stack(progress) as (server, deployment), contextlib.ExitStack() as at_end:
        at_end.callback(shutil.copy, server.log_path, logs)
        environment = server.environment | variables(deployment.outputs)
        with local_workers(environment, logs / "workers.log") as workers:
            outcomes = _run_samples(server, deployment, workers, progress)
        _console().print(samples.table(outcomes))
    missing = samples.EXPECTED.keys() - {outcome.order_id for outcome in outcomes}
    return [
        *(problem for outcome in outcomes for problem in outcome.problems()),
        *(f"{order_id}: this sample is missing" for order_id in sorted(missing)),
        *workers.failures(),
    ]


# Behind a proxy, a shell's own `NO_PROXY` must name the local AWS too. In lower case it wins.
_WITHOUT_PROXY = f"""\
no_proxy="${{no_proxy:-${{NO_PROXY:-}}}}"
case ",$no_proxy," in *,{sdk.HOST},*) ;; *) no_proxy="${{no_proxy:+$no_proxy,}}{sdk.HOST}" ;; esac
export no_proxy NO_PROXY="$no_proxy"
"""


def _exports(server: LocalAws, deployment: pipeline.Deployment) -> str:
    """Return the lines that point a shell at the local AWS and the stack on it."""
    named = sdk.exports(server.endpoint) | variables(deployment.outputs) | _queue_urls(deployment.outputs)
    named["ORDER_INTAKE_BUCKET"] = deployment.outputs["OrderIntakeBucketName"]
    # For workers that are started there; empty, it counts as not set.
    named[RETENTION] = deployment.parameters[RETENTION_PARAMETER]
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in named.items()) + _WITHOUT_PROXY


def _queue_urls(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with the queues' addresses, for clients of any language."""
    return {
        "ORDER_FULFILLMENT_QUEUE_URL": outputs["OrderFulfillmentQueueUrl"],
        "ORDER_FULFILLMENT_DLQ_URL": outputs["OrderFulfillmentDLQUrl"],
        "ESCALATION_QUEUE_URL": outputs["EscalationQueueUrl"],
        "ESCALATION_DLQ_URL": outputs["EscalationDLQUrl"],
    }


def _health(workers: Workers, separator: str) -> str:
    return separator.join(f"{name}={url}" for name, url in workers.health_urls.items())


def _health_export(workers: Workers) -> str:
    return f"export {HEALTH_URLS}={shlex.quote(_health(workers, ' '))}\n"


@contextlib.contextmanager
def _stack(
    progress: Progress, *, port: int | None = None, preferred_port: int | None = None, state: Path | None = None
) -> Iterator[tuple[LocalAws, pipeline.Deployment]]:
    # The workers here are of this release.
    given = {**retention(os.environ), sweep.PARAMETER: sweep.ENABLED}
    review = Review(lambda: True, remedy=f"To start over without it: rm -r {_relative(state)}") if state else AGREED

    def starting() -> None:
        progress.note("Starting a local AWS")

    with local_aws.local_aws(
        state=state, port=port, preferred_port=preferred_port, starting=starting, waiting=progress.waiting
    ) as server:
        with progress.waiting("Waiting for the stack on the local AWS", UP_SHOWN_AFTER_S):
            deployment = pipeline.up(Aws.of(server.client, REGION), "", progress, given=given, review=review)
        yield server, deployment


def _run_samples(
    server: LocalAws, deployment: pipeline.Deployment, workers: Workers, progress: Progress
) -> list[samples.Outcome]:
    progress.note("Starting the sample orders")
    aws = Aws.of(server.client, REGION)
    started = samples.start(aws, deployment.outputs["StateMachineArn"])
    return samples.follow(aws, deployment.outputs["OrderTableName"], started, workers, progress)


def _console() -> Console:
    """Return the console. In a pipe or a CI log, its lines are wide enough for the table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def _show_line(line: LogLine) -> None:
    print(shown(line, color=wants_color(sys.stdout)), flush=True)


def _show_endpoint(progress: Progress, server: LocalAws, *, published: bool) -> None:
    """Say how another terminal reaches this local AWS."""
    how = 'eval "$(make env)"'
    if not published:
        progress.note("Another local AWS is running here. Until it ends, `make env` points at that one")
        how += f"; export AWS_ENDPOINT_URL={server.endpoint}"
    progress.note(f"The local AWS is at {server.endpoint}; in another terminal: {how}")


@contextlib.contextmanager
def _published(text: str, state: Path) -> Iterator[bool]:
    """
    Let `make env` print `text` until the end of the block. Yields False if another run has already published its text.

    Then `make env` still prints the other run's text, so that terminals that use that run keep pointing at it.
    """
    path = state / "env"
    state.mkdir(parents=True, exist_ok=True)
    # The lock is on a separate file, because `env` is deleted each time. If a run is killed, its lock ends with it.
    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        unfinished = path.with_suffix(".part")  # So that nobody who waits for the file reads a part of it.
        unfinished.write_text(text, encoding="utf-8")
        unfinished.rename(path)
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


def _relative(path: Path) -> Path:
    """Return *path* relative to the working directory, if it is inside. With `make`, it always is."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
