"""The body of a message, from what a test gives."""

import json

from pydantic_core import PydanticSerializationError, to_jsonable_python


def body_text(body: object) -> str:
    """
    Return *body* if it is a text; else the JSON of what it is: a pydantic model, a dataclass, or what JSON knows.

    Raises:
        TypeError: It has no JSON.
    """
    __tracebackhide__ = True
    if isinstance(body, str):
        return body
    kind, why = type(body).__qualname__, "must be a text, a pydantic model, a dataclass, or what becomes JSON"
    if isinstance(body, bytes | bytearray):
        raise TypeError(f"a message of {kind} {why}")
    try:
        return json.dumps(body, default=to_jsonable_python)
    except (PydanticSerializationError, TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"a message of {kind} {why}: {error}") from None
