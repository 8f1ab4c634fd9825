"""Loads the handler that `python -m workers run` is given: imports it, and checks that it can handle messages."""

import inspect
import sysconfig
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from workers.errors import FatalError
from workers.message import Message
from workers.opened import explained

ALLOWED = "must be workers.Message or a pydantic model"

Handle = Callable[[Any], Awaitable[object]]
OpenHandler = Callable[[], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Handling:
    """A handler, and the pydantic model of its parameter; None if that is a `Message`."""

    handle: Handle
    model: type[BaseModel] | None


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a handler, called `name` in errors."""

    name: str
    open_handler: OpenHandler


def load(name: str) -> Handling | Opening:
    """
    Import *name*, `package.module:handler`: a handler, or what opens one.

    Raises:
        FatalError: It does not exist, its module cannot be imported, or it cannot handle messages.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise FatalError(f"the handler is {name!r}, must be package.module:handler")
    found = _imported(module_name)
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise FatalError(f"{name}: there is no {attribute!r} in {module_name}{_place_of(found)}") from None
    return loaded(name, found)


def loaded(name: str, found: object) -> Handling | Opening:
    """
    Return *found*, a handler or what opens one, after a check.

    Raises:
        FatalError: It cannot handle messages.
    """
    if _opens_handler(found):
        try:
            inspect.signature(cast("OpenHandler", found)).bind()
        except TypeError as error:
            raise FatalError(f"{name} opens a handler, so it must take no arguments: {error}") from None
        return Opening(name, cast("OpenHandler", found))
    return handling(name, found)


def handling(name: str, handle: object) -> Handling:
    """
    Return *handle*, after a check, with the model of its parameter.

    Raises:
        FatalError: It cannot handle messages.
    """
    if inspect.isasyncgenfunction(handle):
        raise FatalError(f"{name} is an async generator: decorate it with contextlib.asynccontextmanager")
    if not _is_async(handle):
        raise FatalError(f"{name} is {_kind(handle)}, must be an async function, or a context manager that yields one")
    return Handling(cast("Handle", handle), _model(name, cast("Handle", handle)))


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            where = "in the current directory and the environment of this Python"
            raise FatalError(f"there is no module {error.name!r} {where}") from None
        raise FatalError(f"the module {name!r} cannot be imported: {located(error)}") from error
    except (Exception, SystemExit) as error:
        raise FatalError(f"the module {name!r} cannot be imported: {located(error)}") from error


def located(error: BaseException) -> str:
    """Return *error* as one line, with the place in someone's own code that raised it."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{explained(SyntaxError(error.msg))}, {error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)]
    if not own:
        return explained(error)
    return f"{explained(error)}, {own[-1].filename}, line {own[-1].lineno}"


def _is_own(filename: str) -> bool:
    libraries = (*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")), _HERE)
    return not filename.startswith("<") and not filename.startswith(tuple(f"{library}/" for library in libraries))


_HERE = str(Path(__file__).resolve().parent.parent)


def _place_of(found: object) -> str:
    file = getattr(found, "__file__", None)
    return f" ({file})" if isinstance(file, str) else ""


def _opens_handler(found: object) -> bool:
    """Return whether calling *found* returns an async context manager: it is decorated so, or is such a class."""
    if inspect.isclass(found):
        return hasattr(found, "__aenter__") and hasattr(found, "__aexit__")
    wrapped = getattr(found, "__wrapped__", None)
    return callable(found) and not inspect.isasyncgenfunction(found) and inspect.isasyncgenfunction(wrapped)


def _is_async(handle: object) -> bool:
    if inspect.isclass(handle):
        return False
    return inspect.iscoroutinefunction(handle) or inspect.iscoroutinefunction(getattr(handle, "__call__", None))  # noqa: B004


def _kind(found: object) -> str:
    if inspect.isclass(found):
        return "a class"
    if inspect.isroutine(found):
        return "not async"
    return "not a function"


def _model(name: str, handle: Handle) -> type[BaseModel] | None:
    """Return the model that *handle*'s only parameter is annotated with; None if that is a `Message`."""
    parameters = list(inspect.signature(handle).parameters.values())
    try:
        inspect.signature(handle).bind("message")
    except TypeError:
        names = ", ".join(parameter.name for parameter in parameters) or "none"
        raise FatalError(f"{name} must take one argument, the message; its parameters are: {names}") from None
    parameter = parameters[0]
    annotation = parameter.annotation
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, _namespace(handle))  # noqa: S307 - Python's own way to read annotations.
        except Exception as error:  # noqa: BLE001 - whatever the annotation is.
            raise FatalError(
                f"the annotation of {name}'s parameter {parameter.name}, {annotation!r}, cannot be read: "
                f"{explained(error)}; it {ALLOWED}, imported at run time"
            ) from None
    if annotation in {inspect.Parameter.empty, Message, Any}:
        return None
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    shown = annotation.__qualname__ if inspect.isclass(annotation) else repr(annotation)
    raise FatalError(f"{name}'s parameter {parameter.name} is annotated with {shown}, {ALLOWED}")


def _namespace(handle: object) -> dict[str, Any]:
    """Return the names that the annotations of *handle* can use."""
    function = inspect.unwrap(cast("Callable[..., Any]", handle))
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    function = inspect.unwrap(getattr(function, "__func__", function))
    closure = inspect.getclosurevars(function).nonlocals
    return {**getattr(function, "__globals__", {}), **closure}
