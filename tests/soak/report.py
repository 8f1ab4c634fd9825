"""The report of a run: Markdown for people, JSON for programs, and the picture."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.report import machine
from tests.soak.ledger import Fate, Promise
from tests.soak.measures import Flatness
from tests.soak.picture import picture
from tests.soak.run import Outcome


def save(outcome: Outcome, output: Path) -> Path:
    """Write the report beside *output*, which is the JSON file; return the path of the Markdown file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document(outcome), indent=2) + "\n", encoding="utf-8")
    image = output.with_suffix(".svg")
    image.write_text(picture(outcome), encoding="utf-8")
    page = output.with_suffix(".md")
    page.write_text("\n".join([*_lines(outcome, image.name), ""]), encoding="utf-8")
    return page


def verdict(outcome: Outcome) -> str:
    """Return the result in one sentence."""
    if outcome.interrupted:
        return "interrupted: nothing is proven"
    broken = [promise for promise in Promise if outcome.problems.counts[promise]]
    growing = [one for one in outcome.flatness if not one.is_flat]
    if broken or growing:
        return f"failed: {len(broken)} promises broken, {len(growing)} measures not flat"
    flat = f"{len(outcome.flatness)} measures flat" if outcome.flatness else "too short to judge what grows"
    return f"passed: {len(Promise)} promises kept, {flat}"


def document(outcome: Outcome) -> dict[str, Any]:
    """Return the report as JSON."""
    return {
        "verdict": verdict(outcome),
        "passed": outcome.is_good,
        "interrupted": outcome.interrupted,
        "plan": asdict(outcome.plan),
        "machine": machine(),
        "orders": _orders(outcome),
        "drained_s": outcome.drained_s,
        "promises": [
            {"promise": promise, "problems": outcome.problems.counts[promise], "examples": _examples(outcome, promise)}
            for promise in Promise
        ],
        "flatness": [
            {
                "worker": one.worker,
                "measure": one.measure.title,
                "unit": one.measure.unit,
                "first": one.first,
                "last": one.last,
                "allowed": None if one.first is None else one.measure.allowed(one.first),
                "flat": one.is_flat,
            }
            for one in outcome.flatness
        ],
        "facts": outcome.facts,
        "spells": [asdict(spell) for spell in outcome.spells],
        "moments": [asdict(moment) for moment in outcome.moments],
        "processes": [
            {"name": process.name, "stays": process.stays, "samples": [asdict(one) for one in process.samples]}
            for process in outcome.processes
        ],
    }


def _orders(outcome: Outcome) -> dict[str, int]:
    ledger = outcome.ledger
    return {
        "sent": ledger.sent,
        "fulfilled": ledger.settled[Fate.FULFILLED],
        "escalated": ledger.settled[Fate.ESCALATED],
        "open": ledger.open,
        "useless bodies": sum(map(len, ledger.garbage.values())),
        "requests to the provider that were repeated with the same key": ledger.repeated_requests,
        "notifications that were repeated with the same id": ledger.repeated_notifications,
    }


def _examples(outcome: Outcome, promise: Promise) -> list[str]:
    return outcome.problems.examples.get(promise, [])


def _lines(outcome: Outcome, image: str) -> Iterator[str]:
    plan = outcome.plan
    yield f"# {plan.minutes:g} minutes of a busy week: {verdict(outcome)}"
    yield ""
    yield f"{plan.orders} orders in {plan.days} days of {plan.day_s / 60:.1f} minutes, seed {plan.seed}."
    yield ""
    yield f"![What was measured]({image})"
    yield ""
    yield from _table("promise", "kept")
    for promise in Promise:
        count = outcome.problems.counts[promise]
        kept = f"**no: {count}**" if count else "not judged" if outcome.interrupted else "yes"
        yield f"| {promise} | {kept} |"
    for promise in Promise:
        for example in _examples(outcome, promise):
            yield ""
            yield f"- {promise}: `{' '.join(example.split())}`"
    yield ""
    yield from _flatness(outcome)
    yield from _facts("what happened", _orders(outcome))
    if outcome.drained_s is not None:
        yield f"| seconds from the last order to the last message | {outcome.drained_s:.0f} |"
    for name, fact in outcome.facts.items():
        if isinstance(fact, Mapping):
            yield ""
            yield from _facts(name, fact)
        else:
            yield f"| {name} | {fact} |"
    yield ""
    yield from _facts("machine", {name: fact for name, fact in machine().items() if not isinstance(fact, Mapping)})


def _flatness(outcome: Outcome) -> Iterator[str]:
    if not outcome.flatness:
        yield "Too short to judge what grows: that takes two whole days after the warm-up."
        yield ""
        return
    day = f"{outcome.plan.day_s / 60:.1f} minutes"
    yield (
        f"The workers that live for the whole run: the day after minute {outcome.plan.warm_up_minutes:g} against the "
        f"last day, {day} each. The median of the memory; of descriptors and tasks, the lower "
        "quartile; all of the CPU time."
    )
    yield ""
    yield from _table("worker", "measure", "first", "last", "allowed", "flat")
    for one in outcome.flatness:
        yield _flatness_row(one)
    yield ""


def _flatness_row(one: Flatness) -> str:
    unit = f" {one.measure.unit}" if one.measure.unit else ""
    figures = (one.first, one.last, None if one.first is None else one.measure.allowed(one.first))
    shown = ["not measured" if figure is None else f"{figure:.2f}{unit}" for figure in figures]
    flat = {True: "yes", False: "**no**", None: "**not measured**"}[one.is_flat]
    return f"| {' | '.join([one.worker, one.measure.title, *shown, flat])} |"


def _facts(title: str, facts: Mapping[str, Any]) -> Iterator[str]:
    yield from _table(title, "")
    for name, fact in facts.items():
        yield f"| {name} | {fact} |"


def _table(*headings: str) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
