"""The options of the soak."""

import pytest

from tests.soak.options import parser, plan_of
from tests.soak.plan import Plan


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        ([], Plan(60, 200_000, 0)),
        (["--minutes", "15"], Plan(15, 50_000, 0)),
        (["--minutes", "0.5", "--orders", "600", "--seed", "7"], Plan(0.5, 600, 7)),
        (["--minutes", "20", "--warm-up", "5"], Plan(20, 66_666, 0, warm_up_minutes=5)),
    ],
)
def test_a_shorter_run_has_fewer_orders_unless_told_otherwise(arguments: list[str], plan: Plan) -> None:
    assert plan_of(parser().parse_args(arguments)) == plan


@pytest.mark.parametrize(
    "arguments", [["--minutes", "0"], ["--orders", "many"], ["--seed", "-1"], ["--warm-up", "nan"]]
)
def test_a_wrong_option_is_named_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parser().parse_args(arguments)
    assert exited.value.code == 2
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    assert arguments[0] in printed
    assert repr(arguments[1]) in printed
