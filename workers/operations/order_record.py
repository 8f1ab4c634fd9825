"""An order of a file that can be submitted."""

from collections.abc import Mapping
from dataclasses import dataclass

from workers.operations.json_records import value_of


@dataclass(frozen=True, slots=True)
class Record:
    """An order that can be submitted; *text* is the execution's input."""

    line: int
    order_id: str
    text: str
    file: str = ""
    element: int | None = None  # Its number, if it is an element of an array.

    def fields(self) -> Mapping[str, str]:
        """Return the order's fields. Those of a record that can be submitted are strings."""
        order: Mapping[str, str] = value_of(self.text)
        return order
