"""What a person sees of a resolution before it is carried out, and how card numbers are taken."""

from dataclasses import replace

import pytest

from tests.workers.fakes import order
from workers.console.audit import Person
from workers.console.resolving import NEXT, CardError, Change, Job, Jobs, JobState, changes, stored_fields
from workers.domain.orders import Order
from workers.domain.resolutions import Action, Request
from workers.operations.decisions import Decision
from workers.operations.resolve_many import Plan, Step

CARD = "4929123412345678"
ORDER = replace(order("ESCALATED", "1"), name="Ada", item_name="Bicycle", price="-1", cc="************5678")
CORRECTED = {"OrderId": "1", "Name": "Ada", "ItemName": "Bicycle", "Price": "5"}


def step(action: Action = Action.RESUBMIT, of: Order | None = ORDER, **values: object) -> Step:
    shipment = "S-1" if action is Action.FULFILL else None
    request = Request(action=action, actor="ada", note="n", shipment_id=shipment)
    return Step(Decision("1", request, {}), order=of, **values)  # type: ignore[arg-type]


def job(*steps: Step) -> Job:
    return Job(Action.RESUBMIT, Person("ada", "n"), Plan(list(steps)))


def resubmission() -> Step:
    return step(corrected=dict(CORRECTED))


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (step(Action.CANCEL), [Change("Status", "ESCALATED", "CANCELLED")]),
        (
            step(Action.FULFILL),
            [Change("Status", "ESCALATED", "FULFILLED"), Change("Shipment", None, "S-1")],
        ),
        (
            step(Action.FULFILL, replace(ORDER, shipment_id="S-0")),
            [Change("Status", "ESCALATED", "FULFILLED"), Change("Shipment", "S-0", "S-1")],
        ),
        (step(Action.CLOSE), [Change("Status", "ESCALATED", "ESCALATED")]),
        (step(Action.CANCEL, None), [Change("Status", None, None)]),
        (step(Action.FULFILL, None), [Change("Status", None, None), Change("Shipment", None, "S-1")]),
        (
            resubmission(),
            [
                Change("Order", "1", "1"),
                Change("Name", "Ada", "Ada"),
                Change("Item", "Bicycle", "Bicycle"),
                Change("Price", "-1", "5"),
                Change("Status", "ESCALATED", "RECEIVED"),
            ],
        ),
        (
            step(of=None, corrected={"OrderId": "2"}),
            [
                Change("Order", None, "2"),
                *(Change(field, None, None) for field in ("Name", "Item", "Price")),
                Change("Status", None, "RECEIVED"),
            ],
        ),
    ],
)
def test_what_a_resolution_changes_is_shown_field_by_field(given: Step, seen: list[Change]) -> None:
    assert changes(given) == seen


def test_what_is_stored_can_be_corrected_without_the_card_number() -> None:
    assert stored_fields(ORDER) == CORRECTED | {"Price": "-1"}
    assert stored_fields(None) == {}
    assert [Job.stored_card(step(of=each)) for each in (ORDER, replace(ORDER, cc=None), None)] == [
        "************5678",
        None,
        None,
    ]


def test_what_happens_next_is_said_of_each() -> None:
    of_job = job()
    assert of_job.next_of(resubmission()) == NEXT[Action.RESUBMIT]
    assert of_job.next_of(step(unchanged=True)) == "It was done before: nothing is to be done."
    assert of_job.next_of(step(unchanged=True, problem="no")) == "no"


def test_what_came_of_it_is_counted() -> None:
    steps = [
        step(is_resolved=True),
        step(unchanged=True),
        step(problem="x"),
        step(),
        step(problem="y", can_repeat=True),
    ]
    of_job = job(*steps)
    assert (of_job.outcome, of_job.done) == ("1 resolved, 1 unchanged, 2 failed, 1 not tried", 4)
    assert of_job.rest == steps[3:]
    assert (job().outcome, job(steps[0]).outcome) == ("nothing to do", "1 resolved")


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, {0: "a card number is needed"}),
        ({0: " ", 1: ""}, {0: "a card number is needed"}),
        ({1: CARD}, {0: "a card number is needed"}),  # That step needs none.
        ({0: CARD, 2: "12"}, {2: "CC must be 16 digits"}),
        ({0: "x", 2: "12"}, {0: "CC must be 16 digits", 2: "CC must be 16 digits"}),
    ],
)
def test_card_numbers_that_are_wrong_are_not_kept(given: dict[int, str], problems: dict[int, str]) -> None:
    of_job = job(resubmission(), step(Action.CANCEL), resubmission())
    with pytest.raises(CardError) as raised:
        of_job.add_card_numbers(given)
    assert raised.value.problems.keys() == problems.keys()
    assert str(raised.value) == "; ".join(raised.value.problems.values())
    assert CARD not in repr(of_job.plan)
    assert (of_job.endings, of_job.needs_cards) == ({}, True)


def test_of_several_steps_those_without_a_card_number_are_left_out() -> None:
    of_job = job(resubmission(), step(Action.CANCEL), resubmission(), step(problem="no"))
    of_job.add_card_numbers({2: f" {CARD} "})
    first, second, third, fourth = of_job.plan.steps
    assert (first.problem, first.can_repeat) == ("no card number was given", True)
    assert (second.problem, fourth.can_repeat) == (None, False)
    assert (third.corrected or {})["CC"] == CARD
    assert (of_job.endings, of_job.needs_cards) == ({2: "5678"}, False)
    of_job.forget_card_numbers()
    assert third.corrected == CORRECTED


def test_a_job_without_card_numbers_needs_none() -> None:
    of_job = job(step(Action.CANCEL))
    of_job.add_card_numbers({})
    assert (of_job.endings, of_job.needs_cards) == ({}, False)


def test_only_some_jobs_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.console.resolving.MAX_RUNNING", 2)
    jobs, states = Jobs(), (JobState.RUNNING, JobState.ENDED, JobState.RUNNING)
    full = []
    for state in states:
        added = job()
        added.state = state
        jobs.add(added)
        assert jobs.get(added.id) is added
        full.append(jobs.is_full)
    assert full == [False, False, True]
