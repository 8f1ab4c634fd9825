"""
The stack of one test session, on a local AWS of its own or on one that runs already.

`workers.testing` starts it:

    python -m deploy.local.session --name-prefix t-1a2b- --ready FILE (--python PYTHON | --endpoint URL)

FILE has the endpoint and the stack's outputs as a JSON object, once the stack is deployed. It runs until SIGTERM, and
then takes down what it made. Exit code 1: the last line of its output says why.
"""

import argparse
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import Aws, explained
from deploy.errors import DeployError
from deploy.local import aws as local_aws
from deploy.progress import Progress
from deploy.stacks import pipeline
from workers.testing.sdk import REGION, Endpoint

WAIT_SCALE = 0.02  # A wait or backoff of one second in a state machine takes 20 ms.
CHECK_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one session; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.session")
    parser.add_argument("--name-prefix", required=True)
    parser.add_argument("--ready", type=Path, required=True)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--python", type=Path, help="the interpreter that has the local AWS")
    where.add_argument("--endpoint", help="an AWS that runs already")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        with _aws(options.endpoint, options.python) as aws:
            _serve(aws, options.name_prefix, options.ready, stop, take_down=options.endpoint is not None)
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(explained(error), file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _aws(endpoint: str | None, python: Path) -> Iterator[Endpoint]:
    if endpoint is not None:
        yield Endpoint(endpoint)
        return
    with local_aws.local_aws(python=python, wait_scale=WAIT_SCALE) as server:
        yield server


def _serve(aws: Endpoint, name_prefix: str, ready: Path, stop: threading.Event, *, take_down: bool) -> None:
    clients, progress = Aws.of(aws.client, REGION), Progress(quiet=True)
    try:
        deployment = pipeline.up(clients, name_prefix, progress)
        document = json.dumps({"endpoint": aws.endpoint, "outputs": dict(deployment.outputs)})
        unfinished = ready.with_suffix(".part")  # So that the file is whole as soon as it is there.
        unfinished.write_text(document, encoding="utf-8")
        unfinished.rename(ready)
        while not stop.wait(CHECK_S):
            if isinstance(aws, local_aws.LocalAws):
                aws.check()
    finally:
        if take_down:
            pipeline.down(clients, name_prefix, delete_data=True, confirm=lambda: True, progress=progress)
            _delete_queues(aws, name_prefix)


def _delete_queues(aws: Endpoint, name_prefix: str) -> None:
    """Delete the queues of tests that were killed; the stack's own go with it."""
    sqs = aws.client("sqs")
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=name_prefix)
    for url in [url for page in pages for url in page.get("QueueUrls", [])]:
        sqs.delete_queue(QueueUrl=url)


if __name__ == "__main__":
    sys.exit(main())
