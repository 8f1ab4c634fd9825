"""What can be named on the command line of a worker of your own, and what the errors say."""

import sys
from pathlib import Path

import pytest

from tests.workers.own import handlers
from tests.workers.own.handlers import Return
from workers.errors import FatalError
from workers.opened import Opened
from workers.own.loading import Handling, Opening, load, located
from workers.own.opening import opened_handler

MODULE = "tests.workers.own.handlers"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("of_message", None),
        ("of_anything", None),
        ("of_model", Return),
        ("with_default", Return),
        ("service", Return),
        ("service.handle", Return),
        ("partial", Return),
    ],
)
def test_a_handler_takes_a_message_or_the_model_of_its_annotation(name: str, model: type | None) -> None:
    loaded = load(f"{MODULE}:{name}")
    assert isinstance(loaded, Handling)
    assert loaded.model is model


@pytest.mark.parametrize(("name", "model"), [("opens", None), ("Opens", Return)])
async def test_a_context_manager_opens_the_handler(name: str, model: type | None) -> None:
    loaded = load(f"{MODULE}:{name}")
    assert loaded == Opening(f"{MODULE}:{name}", getattr(handlers, name))
    opened = Opened()
    assert (await opened_handler(loaded, opened)).model is model
    await opened.close()


async def test_a_handler_needs_no_opening() -> None:
    loaded = load(f"{MODULE}:of_model")
    assert await opened_handler(loaded, Opened()) is loaded


async def test_a_model_that_is_local_to_the_factory_is_found() -> None:
    opened = Opened()
    model = (await opened_handler(load(f"{MODULE}:opens_local"), opened)).model
    assert model is not None
    assert model.__name__ == "Local"
    await opened.close()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("handle", "the handler is 'handle', must be package.module:handler"),
        ("shop:", "the handler is 'shop:', must be package.module:handler"),
        ("shop/returns.py:handle", "the handler is 'shop/returns.py:handle', must be package.module:handler"),
        ("nowhere.returns:handle", "there is no module 'nowhere' in the current directory and the environment of "),
        ("tests.nowhere:handle", "there is no module 'tests.nowhere' in the current directory and the environment of "),
        (f"{MODULE}:handel", f"{MODULE}:handel: there is no 'handel' in {MODULE} ({handlers.__file__})"),
        (f"{MODULE}:service.handel", f"{MODULE}:service.handel: there is no 'handel' in {MODULE}"),
        (f"{MODULE}:blocking", f"{MODULE}:blocking is not async, must be an async function, or a context manager that"),
        (f"{MODULE}:not_async", f"{MODULE}:not_async is not a function, must be an async function, or a context"),
        (f"{MODULE}:number", f"{MODULE}:number is not a function, must be an async function, or a context manager"),
        (f"{MODULE}:Service", f"{MODULE}:Service is a class, must be an async function, or a context manager that"),
        (f"{MODULE}:OnlyEnters", f"{MODULE}:OnlyEnters is a class, must be an async function, or a context manager"),
        (f"{MODULE}:of_text", f"{MODULE}:of_text's parameter body is annotated with str, must be workers.Message or"),
        (f"{MODULE}:undecorated", f"{MODULE}:undecorated is an async generator: decorate it with contextlib.async"),
        (f"{MODULE}:of_nothing", f"{MODULE}:of_nothing must take one argument, the message; its parameters are: none"),
        (f"{MODULE}:of_two", f"{MODULE}:of_two must take one argument, the message; its parameters are: item, message"),
        (
            f"{MODULE}:of_dict",
            f"{MODULE}:of_dict's parameter document is annotated with dict[str, str], must be workers.Message or a",
        ),
        (
            f"{MODULE}:of_unknown",
            f"the annotation of {MODULE}:of_unknown's parameter price, 'Decimal', cannot be read: name error: name",
        ),
        (f"{MODULE}:opens_with", f"{MODULE}:opens_with opens a handler, so it must take no arguments: missing a"),
    ],
)
def test_what_cannot_handle_messages_is_refused_in_one_line(name: str, problem: str) -> None:
    with pytest.raises(FatalError) as raised:
        load(name)
    assert str(raised.value).startswith(problem)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import os\nurl = os.environ['SHOP_URL']\n", "key error: 'SHOP_URL', {file}, line 2"),
        ("import shop_that_is_imported\n", "assertion error: no, {folder}/shop_that_is_imported.py, line 3"),
        ("def f():\n    raise ValueError('two\\nlines')\nf()\n", "value error: two lines, {file}, line 2"),
        ("async def handle(message)\n    ...\n", "syntax error: expected ':', {file}, line 1"),
        ("import nothing_like_this\n", "module not found error: No module named 'nothing_like_this', {file}, line 1"),
        ("import sys\nsys.exit('no')\n", "system exit: no, {file}, line 2"),
    ],
)
def test_a_module_that_fails_is_named_with_the_place(
    source: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop_that_fails.py"
    file.write_text(source)
    (tmp_path / "shop_that_is_imported.py").write_text("\n\nraise AssertionError('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("SHOP_URL", raising=False)
    with pytest.raises(FatalError) as raised:
        load("shop_that_fails:handle")
    sys.modules.pop("shop_that_fails", None)
    assert (
        str(raised.value)
        == f"the module 'shop_that_fails' cannot be imported: {problem.format(file=file, folder=tmp_path)}"
    )


def test_an_error_of_a_library_has_no_place() -> None:
    assert located(ValueError("no")) == "value error: no"
