"""
Start ministack, version 1.5.33, with what our state machines need.

- A state that writes an object to S3, for bulk intake.
- A file that cannot be read fails its Map state with `States.ItemReaderFailed`, which the state can catch.
- An expression may take as long as it takes.

This file runs under `.venv-local-aws`, which does not have our packages.
"""

import json
import runpy
from typing import Any
from urllib.parse import quote


def evaluate_without_limit(language: Any) -> None:
    """
    Let the expressions of *language*, the class `jsonata.Jsonata`, take as long as they take.

    AWS stops one after a second. Here all executions share one interpreter: while hundreds run, or on a busy machine,
    an expression of a few milliseconds waits for that long, and its execution would fail.
    """
    make = language.jsonata

    def make_without_limit(expression: str, **_: int) -> Any:
        return make(expression)

    language.jsonata = staticmethod(make_without_limit)


def extend() -> None:
    """Change the Step Functions of this process."""
    from jsonata import Jsonata  # noqa: PLC0415 - only `.venv-local-aws` has it.
    from ministack.services import stepfunctions  # noqa: PLC0415 - only `.venv-local-aws` has it.

    evaluate_without_limit(Jsonata)
    dispatch, read, error = (
        getattr(stepfunctions, name) for name in ("_dispatch_aws_sdk_rest_xml", "_read_map_items", "_ExecutionError")
    )

    def dispatch_with_put(service: Any, name: str, action: str, asked: Any) -> Any:
        if (name, action) != ("s3", "putObject"):
            return dispatch(service, name, action, asked)
        from ministack import app  # noqa: PLC0415 - it imports this module.

        body = json.dumps(asked["Body"]).encode()
        headers = {"content-length": str(len(body)), "content-type": asked["ContentType"]}
        path = f"/{asked['Bucket']}/{quote(asked['Key'])}"
        status, _, _ = app.call_service_handler_sync(app.SERVICE_HANDLERS["s3"], "PUT", path, headers, body, {})
        if status >= 400:  # noqa: PLR2004 - HTTP
            raise error("S3.S3Exception", f"S3 answered {status}")
        return {}

    def read_or_fail(*arguments: Any) -> Any:
        try:
            return read(*arguments)
        except (LookupError, ValueError):  # No JSON, or not UTF-8.
            raise error("States.ItemReaderFailed", "The file cannot be read") from None

    stepfunctions._dispatch_aws_sdk_rest_xml = dispatch_with_put  # noqa: SLF001
    stepfunctions._read_map_items = read_or_fail  # noqa: SLF001


if __name__ == "__main__":
    extend()
    runpy.run_module("ministack", run_name="__main__")
