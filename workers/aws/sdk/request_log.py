"""Logs the requests that the SDK itself sends."""

import time
from typing import TYPE_CHECKING, Any

from workers.aws.sdk.handover import is_handed_over
from workers.request_log import is_on, log_request

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from botocore.client import BaseClient

_STARTED_AT_S = "order_fulfillment_started_at_s"  # In the context that the SDK keeps for each call.


def log_requests(client: "BaseClient") -> None:
    """Log every attempt that the SDK makes for *client*, if the log's level is DEBUG."""
    if is_on():
        client.meta.events.register_last("request-created", _started)
        client.meta.events.register("response-received", _finished)


def _started(request: "AWSRequest", **_: Any) -> None:
    context: dict[str, Any] = request.context
    context[_STARTED_AT_S] = time.perf_counter()


def _finished(
    response_dict: Any, parsed_response: Any, context: dict[str, Any], exception: Exception | None, **event: Any
) -> None:
    attempt = context.get("retries", {}).get("attempt", 1)
    if attempt == 1 and is_handed_over():
        return  # A direct request, which was logged when it ended.
    error = (parsed_response or {}).get("Error", {})
    log_request(
        event["event_name"].rpartition(".")[2],
        context.get(_STARTED_AT_S, time.perf_counter()),
        attempt=attempt,
        status=(response_dict or {}).get("status_code"),
        reason=error.get("Code") if exception is None else type(exception).__name__,
    )
