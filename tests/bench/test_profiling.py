import ast

import pytest

from deploy.local.aws import ROOT
from tests.bench.profiling import STAGES

OURS = [(place, function) for _, place, function in STAGES if place.startswith(("workers/", "aws/"))]


@pytest.mark.parametrize(("place", "function"), OURS)
def test_a_stage_of_our_code_exists(place: str, function: str) -> None:
    (path,) = [path for path in (ROOT / "workers").rglob("*.py") if path.as_posix().endswith(f"/{place}")]
    names = {
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert function in names
