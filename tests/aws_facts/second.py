"""
A pytest plugin, `-p tests.aws_facts.second`: SQS is an independent implementation (moto's), the rest the local AWS.

It starts moto's server from `.venv-second`, points every client and every child process to it for SQS, and makes the
queues of each deployed stack there. `make second` runs the tests about queues with it: what only the local AWS does
makes no test pass. Executions send to the local AWS's own queues, so tests of the workflow do not work with it.
"""

import contextlib
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.stacks import pipeline
from tests.support import free_port
from workers.testing import children, sdk

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-second" / "bin" / "python"
VARIABLE = "AWS_ENDPOINT_URL_SQS"
START_S = 60.0
STOP_S = 10.0
_COPIED = ("VisibilityTimeout", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds")


def pytest_configure(config: pytest.Config) -> None:
    running = contextlib.ExitStack()
    config.add_cleanup(running.close)
    _use(running.enter_context(second_sqs()), running.enter_context(pytest.MonkeyPatch.context()))


@contextlib.contextmanager
def second_sqs() -> Iterator[str]:
    """Run moto's server on a free loopback port; yield its URL. It ends with this process, even if that is killed."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        port = free_port()
        log_path = directory / "second.log"
        with log_path.open("wb") as log:
            server = children.start(
                PYTHON,
                "moto.server",
                ["--host", sdk.HOST, "--port", str(port)],
                environment={key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
                output=log,
                directory=directory,
                working_directory=directory,
            )
        try:
            url = f"http://{sdk.HOST}:{port}"
            deadline_s = time.monotonic() + START_S
            while not _answers(url):
                if server.poll() is not None or time.monotonic() > deadline_s:
                    raise pytest.UsageError(f"moto's server did not start:\n{log_path.read_text(errors='replace')}")
                time.sleep(0.1)
            yield url
        finally:
            children.stop(server, STOP_S)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, urllib.error.URLError), opener.open(f"{url}/moto-api/data.json", timeout=5):
        return True
    return False


def _use(url: str, patch: pytest.MonkeyPatch) -> None:
    """Let the clients, the child processes and the stacks of this process use SQS at *url*."""
    local_client, local_exports, local_up = sdk.client, sdk.exports, pipeline.up

    def client(service: str, endpoint: str) -> Any:
        return local_client(service, url if service == "sqs" else endpoint)

    def exports(endpoint: str) -> dict[str, str]:
        return local_exports(endpoint) | {VARIABLE: url}

    def up(aws: Any, *args: Any, **options: Any) -> pipeline.Deployment:
        deployment = local_up(aws, *args, **options)
        first = local_client("sqs", aws.sts.meta.endpoint_url)
        return replace(deployment, outputs=_copy_queues(first, client("sqs", url), deployment.outputs))

    patch.setattr(sdk, "client", client)
    patch.setattr(sdk, "exports", exports)
    patch.setattr(pipeline, "up", up)


def _copy_queues(first: Any, second: Any, outputs: Mapping[str, str]) -> dict[str, str]:
    """Make the queues that *outputs* names in *second*, as they are in *first*; return the outputs with their URLs."""
    copied = dict(outputs)
    urls = {name: url for name, url in outputs.items() if name.endswith("Url")}
    for name in sorted(urls, key=lambda name: "DLQ" not in name):  # The dead-letter queues first: others name them.
        given = first.get_queue_attributes(QueueUrl=urls[name], AttributeNames=["All"])["Attributes"]
        attributes = {key: given[key] for key in _COPIED if key in given}
        if "RedrivePolicy" in given:
            policy = json.loads(given["RedrivePolicy"])
            dead_letters = second.get_queue_url(QueueName=policy["deadLetterTargetArn"].rpartition(":")[2])["QueueUrl"]
            arn = second.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"][
                "QueueArn"
            ]
            attributes["RedrivePolicy"] = json.dumps(policy | {"deadLetterTargetArn": arn})
        queue = urls[name].rpartition("/")[2]
        copied[name] = second.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]
    return copied
