from datetime import timedelta

import click
import pytest

from workers.cli.ages import Age


def test_an_age_is_an_option() -> None:
    assert Age().convert("10m", None, None) == timedelta(minutes=10)
    assert Age().convert(timedelta(days=2), None, None) == timedelta(days=2)  # An option's default.


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1.5h", "10 m", "1w", "999999d", "\u0661m"])
def test_other_texts_are_bad_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s, 10m, 2h or 3d"):
        Age().convert(text, None, None)
