"""docs/configuration.md lists every setting, with its default and its range, and the waits."""

import re
from collections.abc import Mapping

import pytest
from pydantic.fields import FieldInfo

from tests.docs.pages import first_code, page, rows, section
from workers.consumer.timings import DEFAULT_TIMINGS
from workers.settings import Settings
from workers.start import START_BACKOFF

FIELDS: Mapping[str, FieldInfo] = {str(field.alias): field for field in Settings.model_fields.values()}
TABLE = {
    name: (default, limits)
    for cell, default, limits, _ in rows(section(page("docs/configuration.md"), "Settings"))
    for name in first_code(cell)
}
# Their defaults depend on what is installed, or on the output.
COMPUTED = {"ESCALATION_RULES": "the shipped file", "LOG_FORMAT": "by output"}


def test_every_setting_is_in_the_table_in_the_order_of_the_code() -> None:
    assert list(TABLE) == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_default_is_the_one_of_the_code(name: str) -> None:
    default = FIELDS[name].default
    written = {"None": "", "False": "false"}.get(str(default), str(default))
    expected = COMPUTED.get(name, written)
    assert TABLE[name][0].strip("`") == expected


@pytest.mark.parametrize("name", FIELDS)
def test_a_range_has_the_bounds_of_the_code(name: str) -> None:
    bounds = {
        getattr(constraint, bound)
        for constraint in FIELDS[name].metadata
        for bound in ("ge", "le")
        if hasattr(constraint, bound)
    }
    numbers = {float(each) for each in re.findall(r"[0-9]+(?:\.[0-9]+)?", TABLE[name][1])}
    assert bounds <= numbers


def test_the_waits_are_those_of_the_code() -> None:
    timings = DEFAULT_TIMINGS
    backoffs = (
        timings.release,
        timings.probe,
        timings.poll_retry,
        timings.acknowledge_retry,
        timings.extension_retry,
        START_BACKOFF,
    )
    waits = [cells[1:] for cells in rows(section(page("docs/configuration.md"), "Waits between attempts"))]
    assert waits == [[f"{backoff.base_s:g} s", f"{backoff.cap_s:g} s"] for backoff in backoffs]
