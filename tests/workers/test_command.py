import pytest

from workers.command import run_command


def test_help_names_the_workers_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m workers [-h] {fulfillment,escalation}\n")
    assert "  0  stopped by SIGTERM or Ctrl-C\n" in text
    assert "  1  cannot start, or failed while running; the last line of output says why\n" in text
    assert "  2  wrong command line\n" in text


@pytest.mark.parametrize("arguments", [[], ["shipping"], ["fulfillment", "--fast"]])
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m workers ")


def test_a_wrong_setting_is_exit_code_1_and_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_WAIT_S", "21")
    assert run_command(["fulfillment"]) == 1
    assert capsys.readouterr() == ("", "python -m workers: WORKER_WAIT_S is '21', must be 0 to 20 seconds\n")
