"""What a run came to, for people and for programs."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.soak.ledger import Ledger, Problems, Promise
from tests.soak.measures import MEASURES, Flatness
from tests.soak.plan import Plan
from tests.soak.report import save, verdict
from tests.soak.run import Moment, Outcome

PLAN = Plan()
MEMORY = MEASURES[0]
GOOD = Outcome(
    plan=PLAN,
    interrupted=False,
    drained_s=2.0,
    problems=Problems(),
    ledger=Ledger(PLAN.orders, Problems()),
    processes=(),
    moments=[Moment(5.0, 10, 8, 2), Moment(10.0, 20, 20, 0)],
    spells=PLAN.spells(),
    flatness=[Flatness("fulfillment-1", MEMORY, 80.0, 81.0)],
    facts={"deploys": 19, "faults": {"AWS: reset": 3}},
)


def test_a_run_without_problems_and_growth_has_passed(tmp_path: Path) -> None:
    assert GOOD.is_good
    page = save(GOOD, tmp_path / "new" / "soak.json").read_text(encoding="utf-8")
    assert f"passed: {len(Promise)} promises kept, 1 measures flat" in page
    assert "| fulfillment-1 | resident memory | 80.00 MB | 81.00 MB | 84.00 MB | yes |" in page
    document = json.loads((tmp_path / "new" / "soak.json").read_text(encoding="utf-8"))
    assert document["passed"]
    ET.fromstring((tmp_path / "new" / "soak.svg").read_text(encoding="utf-8"))


def test_a_broken_promise_fails_the_run_and_is_shown(tmp_path: Path) -> None:
    problems = Problems()
    problems.add(Promise.SETTLED, "order-0000007 is not settled")
    broken = replace(GOOD, problems=problems)
    assert not broken.is_good
    assert verdict(broken) == "failed: 1 promises broken, 0 measures not flat"
    page = save(broken, tmp_path / "soak.json").read_text(encoding="utf-8")
    assert f"| {Promise.SETTLED} | **no: 1** |" in page
    assert "order-0000007 is not settled" in page


def test_growth_fails_the_run_and_is_shown(tmp_path: Path) -> None:
    growing = replace(GOOD, flatness=[Flatness("escalation-1", MEMORY, 80.0, 95.0)])
    assert not growing.is_good
    assert verdict(growing) == "failed: 0 promises broken, 1 measures not flat"
    assert "| 84.00 MB | **no** |" in save(growing, tmp_path / "soak.json").read_text(encoding="utf-8")


def test_an_interrupted_run_proves_nothing(tmp_path: Path) -> None:
    interrupted = replace(GOOD, interrupted=True, flatness=[], moments=[])
    assert not interrupted.is_good
    assert "| not judged |" in save(interrupted, tmp_path / "soak.json").read_text(encoding="utf-8")


def test_a_measure_that_was_not_taken_fails_the_run() -> None:
    unknown = replace(GOOD, flatness=[Flatness("escalation-1", MEMORY, None, 95.0)])
    assert not unknown.is_good
    assert verdict(unknown) == "failed: 0 promises broken, 1 measures not flat"
