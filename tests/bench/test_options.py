import pytest

from tests.bench.network import AS_AWS, Mode, Network
from tests.bench.options import parser, plan_of


def test_by_default_there_are_three_rounds_and_the_usual_latencies() -> None:
    plan = plan_of(parser().parse_args([]))
    assert (plan.rounds, plan.networks[Mode.AWS]) == (3, AS_AWS)


def test_the_figures_of_an_account_are_taken_over() -> None:
    line = (
        "--receive-ms 18 --sqs-ms 11 --dynamodb-ms 4.5 --batch-ms 13 --transaction-ms 16 --sigma 0.3 "
        "--receive-sizes 2,9 --duplicates 0.01 --rounds 5 --quick"
    )
    plan = plan_of(parser().parse_args(line.split()))
    assert plan.rounds == 5
    assert plan.networks[Mode.AWS] == Network(
        receive_ms=18,
        sqs_ms=11,
        dynamodb_ms=4.5,
        batch_ms=13,
        transaction_ms=16,
        sigma=0.3,
        receive_sizes=(2, 9),
        duplicates=0.01,
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--receive-ms fast", "--receive-ms: 'fast' must be a number from 0 to 60000 (milliseconds)"),
        ("--receive-ms nan", "--receive-ms: 'nan' must be a number from 0 to 60000 (milliseconds)"),
        ("--sigma -1", "--sigma: '-1' must be a number from 0 to 3"),
        ("--receive-sizes 5,1", "--receive-sizes: '5,1' must be the least and the most, from 1 to 10: 1,10"),
        ("--receive-sizes 1,11", "--receive-sizes: '1,11' must be the least and the most, from 1 to 10: 1,10"),
        ("--duplicates 2", "--duplicates: '2' must be a number from 0 to 1"),
        ("--rounds 0", "--rounds: '0' must be a number from 1 to 99"),
    ],
)
def test_a_wrong_value_is_reported_in_one_line(line: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(line.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"python -m tests.bench: argument {problem}\n"
