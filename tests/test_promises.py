import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_test_that_proves_a_promise_is_there() -> None:
    written = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", (TESTS / "README.md").read_text(encoding="utf-8")))
    assert len(named) > 40
    assert named - written == set()
