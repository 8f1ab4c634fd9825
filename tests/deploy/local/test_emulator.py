import itertools
from types import SimpleNamespace
from typing import Any

import jsonata.timebox
import pytest
from jsonata import Jsonata

from deploy.local.emulator import evaluate_without_limit


def test_an_expression_of_a_state_machine_may_wait_for_others_as_long_as_it_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = itertools.count(step=2)  # Each look at the clock is two seconds later.
    monkeypatch.setattr(jsonata.timebox, "time", SimpleNamespace(time=lambda: next(seconds)))

    def evaluate(language: Any) -> object:
        return language.jsonata("$count([1, 2]) + 1", timeout=1000).evaluate(None)

    with pytest.raises(Exception, match="Evaluation timeout after 1000 milliseconds"):
        evaluate(Jsonata)

    class Unlimited(Jsonata):  # type: ignore[misc]
        pass

    evaluate_without_limit(Unlimited)
    assert evaluate(Unlimited) == 3
