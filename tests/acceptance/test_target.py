"""`make acceptance` passes its variables on, and the benchmark takes the options that a report prints."""

import shlex
import subprocess

import pytest

from deploy.local.aws import ROOT
from tests.acceptance.figures import bench_command
from tests.acceptance.test_report import TestFigures
from tests.bench import options


@pytest.mark.process
@pytest.mark.parametrize(
    ("given", "environment", "passed"),
    [
        ([], {}, []),
        (["ACCOUNT=123456789012"], {}, ["--account", "123456789012"]),
        # A variable of the environment confirms nothing.
        ([], {"ACCOUNT": "123456789012"}, []),
        ([], {"CLEAN": "acceptance-1a2b3c-"}, ["--clean", "acceptance-1a2b3c-"]),
        # An empty prefix is refused by the command. It must not start a run.
        (["CLEAN="], {}, ["--clean", ""]),
        (["ORDERS=5", "FACTS=sqs", "REPORT=a b.md"], {}, ["--report", "a b.md", "--orders", "5", "--facts", "sqs"]),
    ],
)
def test_variables_become_options(given: list[str], environment: dict[str, str], passed: list[str]) -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "acceptance", *given],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(shown.stdout.partition("-m tests.acceptance")[2].replace("\\\n", ""))
    assert words == passed


def test_the_command_for_the_benchmark_has_its_options() -> None:
    words = shlex.split(bench_command(TestFigures().found()))
    arguments = options.parser().parse_args(words[words.index("tests.bench") + 1 :])
    network = options.plan_of(arguments).networks
    assert any(each.receive_ms == 30.0 and each.sqs_ms == 12.0 for each in network.values())
