"""What a command knows of its orders: bounded in memory, and without anything that reveals a card number."""

import json

import pytest

from workers.operations import ledger
from workers.operations.ledger import Found, Ledger, State, differing, marks_of
from workers.operations.order_record import Record


def record(number: int) -> Record:
    order = {"OrderId": f"o-{number}", "Name": "Ada", "ItemName": "x", "Price": "1", "CC": "4929123412345678"}
    return Record(number, order["OrderId"], json.dumps(order), "orders.jsonl")


def test_orders_that_do_not_fit_into_memory_are_kept_in_order_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "CACHE_KIB", 16)
    known, count = Ledger(), 1_000
    for number in range(count):
        assert known.add(record(number)) is None
        known.mark(f"o-{number}", State.EXISTING)
    assert known.add(record(7)) == "line 7"
    assert known._database.in_transaction, "a commit for each order would take longer than all the rest"
    assert [entry.line for entry in known.entries(having=State.EXISTING)] == [*range(count)]
    assert {known.find(record(number)) for number in range(count)} == {Found.UNCHANGED}


def test_hashes_have_a_key_of_their_process() -> None:
    fields = {"CC": "************5678"}
    marks = marks_of(fields)
    assert differing(marks, fields) == []
    ledger._key.cache_clear()  # As in another process.
    assert differing(marks, fields) == ["CC"]


def test_an_order_is_known_with_its_improper_fields_and_why_it_was_not_submitted() -> None:
    known = Ledger()
    for order_id, changes in (("1", {"Price": "-1"}), ("2", {"CC": "12"}), ("3", {"Price": "-1", "CC": "12"})):
        order = {"OrderId": order_id, "Name": "Ada", "ItemName": "x", "Price": "1", "CC": "4929123412345678"} | changes
        known.add(Record(1, order_id, json.dumps(order), "orders.jsonl"))
    assert [entry.improper for entry in known.entries()] == [("Price",), ("CC",), ("Price", "CC")]
    known.mark("2", State.NOT_SUBMITTED, problem="refused")
    assert [known.problem(order_id) for order_id in ("1", "2")] == [None, "refused"]


def test_what_has_become_of_an_order_says_nothing_else_about_it() -> None:
    states = (State.TAKEN, State.EXISTING, State.NOT_SUBMITTED)
    for state in (State.NEW, *states):
        known = Ledger()
        known.add(record(1))
        known.mark("o-1", state, problem="why")
        assert [each for each in states if each in known.state("o-1")] == [each for each in states if each is state]
        known.unmark("o-1", state)
        assert [entry.state for entry in known.entries()] == [State.NEW]
