"""The drawing as SVG: what is in it for the eye, for the keyboard, for a screen reader; and that nothing gets out."""

import re
from collections.abc import Iterator
from pathlib import Path as File
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.workers.console.graph.machines import DEFINITIONS, History, definition, machine
from workers.console.graph import svg
from workers.console.graph.definition import START
from workers.console.graph.path import Outcome, Path, read_path
from workers.console.graph.svg import Drawing, draw

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u202e\x00"
ORDER = definition("order-fulfillment")
STYLES = (File(svg.__file__).parents[1] / "static" / "graph.css").read_text(encoding="utf-8")


def elements(drawing: Drawing) -> Iterator[ET.Element]:
    return ET.fromstring(drawing.svg).iter()


def classes(drawing: Drawing) -> dict[str, str]:
    """Return the class of each state by its name."""
    return {
        element.attrib["data-state"]: element.attrib["class"].split()[-1]
        for element in elements(drawing)
        if "data-state" in element.attrib
    }


def texts(drawing: Drawing, name: str) -> list[str]:
    """Return the texts of all elements of a class."""
    return [
        "".join(element.itertext()) for element in elements(drawing) if name in element.attrib.get("class", "").split()
    ]


def line_classes(drawing: Drawing) -> list[str]:
    return [element.attrib["class"] for element in elements(drawing) if "graph-line" in element.attrib.get("class", "")]


def caught() -> Path:
    history = History()
    history.passed("Check the order", "Choice")
    history.task("Update the order table", failures=1)
    history.task("Are details Proper", failures=3, succeeds=False)
    history.task("Put message in Escalation Queue")
    history.add("ExecutionSucceeded")
    return read_path(history.events)


def failed() -> Path:
    history = History()
    history.passed("Check the order", "Choice")
    history.task("Put malformed order in Escalation Queue")
    history.enter("Order is malformed", "Fail")
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "MalformedOrder"})
    return read_path(history.events)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_state_is_a_link_with_a_name(name: str) -> None:
    drawing = draw(definition(name))
    links = {element.attrib["href"]: element for element in elements(drawing) if element.tag == f"{SVG}a"}
    assert [f"#{state.anchor}" for state in drawing.states] == list(links)
    for state in drawing.states:
        link = links[f"#{state.anchor}"]
        assert (link.attrib["data-state"], link.attrib["aria-label"]) == (state.name, f"{state.name}. {state.action}")


def test_states_are_listed_with_what_contains_them() -> None:
    states = {state.name: state for state in draw(definition("stuck-order-sweep")).states}
    assert states["Query a shard"].container == "Look for stuck orders"
    assert states["Look for stuck orders"].container is None
    assert states["Query a shard"].action == "DynamoDB: Query"
    assert states["Query a shard"].visit is None


def test_a_state_is_contained_in_the_innermost_one_around_it() -> None:
    innermost = {"StartAt": "C", "States": {"C": {"Type": "Pass", "End": True}}}
    inner = {"StartAt": "B", "States": {"B": {"Type": "Map", "ItemProcessor": innermost, "End": True}}}
    states = draw({"StartAt": "A", "States": {"A": {"Type": "Map", "ItemProcessor": inner, "End": True}}}).states
    assert [(state.name, state.container) for state in states] == [("A", None), ("B", "A"), ("C", "B")]


def test_a_path_marks_states_lines_and_labels() -> None:
    drawing = draw(ORDER, caught())
    assert classes(drawing) == {state.name: "idle" for state in drawing.states} | {
        "Check the order": "succeeded",
        "Update the order table": "succeeded",
        "Are details Proper": "caught",
        "Put message in Escalation Queue": "succeeded",
    }
    lines = line_classes(drawing)
    assert sorted(line for line in lines if "taken" in line or "caught" in line) == [
        "graph-line catch caught",
        "graph-line choice taken",
        "graph-line end taken",
        "graph-line next taken",
        "graph-line start taken",
    ]
    assert texts(drawing, "graph-retries") == ["1 retry", "2 retries"]
    assert {"graph-pill start taken", "graph-pill end taken"} <= {e.attrib.get("class") for e in elements(drawing)}


def test_the_end_of_an_execution_that_failed_is_not_marked() -> None:
    drawing = draw(ORDER, failed())
    assert classes(drawing)["Order is malformed"] == "failed"
    assert "graph-pill end" in {element.attrib.get("class") for element in elements(drawing)}


def test_a_screen_reader_hears_what_came_of_a_state() -> None:
    labels = {
        e.attrib["data-state"]: e.attrib["aria-label"]
        for e in elements(draw(ORDER, caught()))
        if "data-state" in e.attrib
    }
    assert labels["Are details Proper"] == "Are details Proper: caught an error, 2 retries. Lambda: Invoke"
    assert labels["Workflow failed"] == "Workflow failed: not entered. Fail: WorkflowFailed"
    drawing = draw(ORDER, caught(), title="Workflow of order 7")
    root = ET.fromstring(drawing.svg)
    assert (root.attrib["role"], root.attrib["aria-label"]) == ("group", "Workflow of order 7")
    description = root.findtext(f"{SVG}desc")
    assert description
    assert description.startswith("Path: Check the order (succeeded), Update the order table (succeeded, 1 retry), ")
    assert description.endswith("The execution: succeeded")


def test_a_path_that_has_not_begun_and_a_graph_without_one_are_described() -> None:
    for path, text in (
        (Path(), "Path: none yet. The execution: running"),
        (Path(Outcome.TIMED_OUT), "Path: none yet. The execution: timed out"),
        (None, "States: A, B"),
    ):
        states = {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Succeed"}}
        drawn = ET.fromstring(draw({"StartAt": "A", "States": states}, path).svg)
        assert drawn.findtext(f"{SVG}desc") == text


def test_the_inside_of_a_map_is_marked_with_how_often_it_was_visited() -> None:
    history = History()
    history.enter("Look for stuck orders", "Map")
    started = history.add("MapStateStarted")
    for index in range(2):
        history.task("Query a shard", after=history.iteration("Look for stuck orders", index, "Started", after=started))
        history.iteration("Look for stuck orders", index, "Succeeded")
    drawing = draw(definition("stuck-order-sweep"), read_path(history.events))
    assert classes(drawing)["Look for stuck orders"] == "running"
    assert (classes(drawing)["Query a shard"], classes(drawing)["Query failed"]) == ("succeeded", "idle")
    assert texts(drawing, "graph-visits") == ["2 times"]
    assert "graph-dot end taken" in {element.attrib.get("class") for element in elements(drawing)}


def test_the_inside_of_a_map_that_is_in_no_history_is_not_faded() -> None:
    history = History(is_local=True)
    history.enter("Start orders of CSV", "Map")
    drawing = draw(definition("bulk-order-intake"), read_path(history.events))
    inside = {state.name for state in drawing.states if state.container == "Start orders of CSV"}
    found = [
        element.attrib["class"].split()[-1]
        for element in elements(drawing)
        if element.attrib.get("data-state") in inside
    ]
    assert {line.split()[-1] for line in line_classes(drawing)} == {"idle", "plain"}
    # The same states are inside the other map, which was not entered.
    assert sorted(found) == ["idle"] * len(inside) + ["unknown"] * len(inside)


def test_a_state_of_a_distributed_map_is_not_taken_for_another_of_the_same_name() -> None:
    inside = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED"},
        "StartAt": "B",
        "States": {"B": {"Type": "Pass", "End": True}},
    }
    states = {"A": {"Type": "Map", "ItemProcessor": inside, "Next": "B"}, "B": {"Type": "Pass", "End": True}}
    history = History()
    history.passed("A", "Map")
    history.passed("B")
    history.add("ExecutionSucceeded")
    drawing = draw({"StartAt": "A", "States": states}, read_path(history.events))
    found = [
        (element.attrib["data-state"], element.attrib["class"])
        for element in elements(drawing)
        if element.tag == f"{SVG}a"
    ]
    assert found == [
        ("A", "graph-node map succeeded"),
        ("B", "graph-node pass unknown"),
        ("B", "graph-node pass succeeded"),
    ]
    assert len([line for line in line_classes(drawing) if line.endswith("taken")]) == 3


def test_lines_that_join_are_drawn_once() -> None:
    """Dashes that lie on each other would look like a solid line."""
    drawing = draw(definition("stuck-order-sweep"))
    catches = [e for e in elements(drawing) if e.attrib.get("class") == "graph-line catch plain"]
    ends = [element.attrib["d"].rpartition("L")[2] for element in catches if "marker-end" in element.attrib]
    assert (len(catches), len(ends)) == (9, 3)
    assert len(set(ends)) == 3


def test_heat_has_counts_and_wide_lines() -> None:
    heat = {(START, "Check the order"): 1_000, ("Check the order", "Update the order table"): 10}
    drawing = draw(ORDER, heat=heat)
    counted = [line for line in line_classes(drawing) if "counted" in line]
    assert counted == ["graph-line start counted heat-5", "graph-line choice counted heat-1"]
    assert texts(drawing, "graph-label")[-2:] == ["1,000", "well-formed · 10"]
    assert all("heat-0" in line for line in line_classes(drawing) if "plain" in line)


@pytest.mark.parametrize("name", ["Map", "Parallel", "Task", "Fail", "Choice", HOSTILE])
def test_hostile_text_stays_text(name: str) -> None:
    states: dict[str, Any] = {
        HOSTILE: {"Type": name, "Resource": HOSTILE, "Error": HOSTILE, "Next": "B"},
        "B": {
            "Type": "Choice",
            "Choices": [{"Comment": HOSTILE, "Next": HOSTILE}],
            "Catch": [{"ErrorEquals": [HOSTILE], "Next": "B"}],
        },
    }
    history = History()
    history.enter(HOSTILE)
    history.tried(failures=1, succeeds=False, error=HOSTILE, cause=HOSTILE)
    path = read_path(history.events)
    drawing = draw({"StartAt": HOSTILE, "States": states}, path, {(HOSTILE, "B"): 2}, title=HOSTILE, prefix=HOSTILE)
    assert not re.search(r"<(script|img)", drawing.svg)
    assert not set(re.findall(r"<(\w+)", drawing.svg)) - {
        "svg", "desc", "defs", "marker", "path", "rect", "g", "a", "title", "text", "circle"
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_a_drawing_obeys_the_content_security_policy(seed: int) -> None:
    drawing = draw(machine(depth=1, random=Random(seed)), caught())
    for element in elements(drawing):
        assert not {"style", "src", "xlink:href"} & set(element.attrib)
        assert not [name for name in element.attrib if name.startswith("on")]
        assert element.attrib.get("href", "#").startswith("#")
    assert re.findall(r"url\(([^)]*)\)", drawing.svg) != []
    assert all(target.startswith("#graph-arrow-") for target in re.findall(r"url\(([^)]*)\)", drawing.svg))


def test_every_class_has_a_style() -> None:
    drawings = [
        draw(ORDER),
        draw(ORDER, caught()),
        draw(ORDER, failed()),
        draw(definition("stuck-order-sweep"), caught()),
    ]
    used = {name for drawing in drawings for e in elements(drawing) for name in e.attrib.get("class", "").split()}
    assert {name for name in used if name.startswith("graph-")} - {"graph-with-path"} <= set(
        re.findall(r"[a-z-]+", STYLES)
    )


def test_styles_move_nothing_for_those_who_want_no_motion() -> None:
    assert "animation" not in re.sub(
        r"@media \(prefers-reduced-motion: no-preference\) \{.*?\n\}", "", STYLES, flags=re.DOTALL
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(scheme: str) -> None:
    parts = STYLES.split("@media (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--graph-([a-z0-9-]+): (#[0-9a-f]{6});", parts[0] if scheme == "light" else parts[1]))
    backs = {"idle-ink": "card frame", "on-colour": "warn-pill stop", "ok": "ok-back", "warn-ink": "warn-back"}
    backs |= {"run": "run-back"}
    on_back = {f"{each}-back" for each in ("ok", "warn", "bad", "run", "stop")}
    for text, behind in {
        **backs,
        "ink": f"card frame {' '.join(on_back)}",
        "mute": f"card frame pill {' '.join(on_back)}",
    }.items():
        for back in behind.split():
            assert contrast(colours[text], colours[back]) >= 4.5, (text, back)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_layout_is_kept_for_the_next_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    again = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
    first = draw(again)
    monkeypatch.setattr(svg, "lay_out", None)
    assert draw(dict(again)) == first


def test_two_drawings_on_a_page_have_their_own_anchors() -> None:
    assert {state.anchor.rpartition("-")[0] for state in draw(ORDER, prefix="second").states} == {"second"}
