"""Files of decisions about many cases, and card numbers for them."""

import pytest
from hypothesis import given

from tests.strategies import matching, unicode_text
from workers.domain.resolutions import Action
from workers.operations.decisions import MAX_DECISIONS, Decision, read_card_numbers, read_decisions
from workers.operations.errors import OperationError

CARD = "4929123412345678"
HEADER = "case_id,action,note,shipment_id,order_id,name,item_name,price"


def read(text: str | bytes, *, note: str | None = "as agreed", cards_allowed: bool = False) -> list[Decision]:
    content = text.encode() if isinstance(text, str) else text
    return read_decisions("f.csv", content, actor="ada", note=note, cards_allowed=cards_allowed)[0]


def refusal(text: str | bytes) -> str:
    with pytest.raises(OperationError) as raised:
        read(text)
    assert CARD[:8] not in str(raised.value)
    return str(raised.value)


def test_each_line_is_a_decision() -> None:
    cancel, fulfill, resubmit = read(
        f"{HEADER}\n001,cancel,gone,,,,,\n002,FULFILL,,S-1,,,,\n003, resubmit ,, ,o-3,Zoe,Car,12.50\n"
    )
    assert (cancel.case_id, cancel.request.action, cancel.request.note, cancel.request.actor) == (
        "001",
        "cancel",
        "gone",
        "ada",
    )
    assert (fulfill.request.action, fulfill.request.shipment_id, fulfill.request.note) == (
        Action.FULFILL,
        "S-1",
        "as agreed",
    )
    assert resubmit.corrections == {"OrderId": "o-3", "Name": "Zoe", "ItemName": "Car", "Price": "12.50"}
    assert (resubmit.card_number, cancel.corrections, fulfill.corrections) == (None, {}, {})


@pytest.mark.parametrize(
    "text",
    [
        "case_id,action\n001,close\n",
        "\ufeffCase ID;Action\r\n001;close\r\n",
        "ACTION\tCaseId\nclose\t001",
        'case-id,action\n\n"001","close"\n\n',
        "sep=;\r\ncase_id;action\r\n001;close\r\n",
        "case_id|action\n001|close\n",
        "\ncase_id\taction\t\t\n001\tclose\t\t\n",
        "case_id,action\n001,close,,\n",
        'case_id,action\n"=""001""",close\n',
        "case_id,action\n'001,close\n",
        "\ufeff\ufeffCase ID;Action\n001;close\n",
        "\ufeffCase ID;Action\n001;close\n".encode("utf-16-le"),
    ],
)
def test_headers_and_separators_are_those_of_spreadsheets(text: str | bytes) -> None:
    (decision,) = read(text)
    assert (decision.case_id, decision.request.action) == ("001", Action.CLOSE)


def test_a_list_of_cases_can_be_decided_in_part() -> None:
    text = "case_id,state,severity,cc,note,action\n002,OPEN,info,****,,\n001,OPEN,critical,************5678,,close\n"
    decisions, unused = read_decisions("f.csv", text.encode(), actor="ada", note="x", cards_allowed=False)
    assert [decision.case_id for decision in decisions] == ["001"]
    assert unused == ["state", "severity"]


def test_an_apostrophe_before_a_formula_is_not_part_of_the_value() -> None:
    (decision,) = read("case_id,action,name,item_name\n001,resubmit,'=Ada,'t Hooft\n")
    assert decision.corrections == {"Name": "=Ada", "ItemName": "'t Hooft"}


def test_letters_that_are_not_utf_8_are_read_where_they_can_only_be_of_one_encoding() -> None:
    (decision,) = read("case_id,action,note\n001,close,Zo\u00e9\n".encode("windows-1252"))
    assert decision.request.note == "Zo\u00e9"


def test_prices_are_read_as_in_files_of_orders() -> None:
    header = "case_id;action;price\n001;resubmit;"
    (decision,) = read(f"{header}1.234,50\n")
    assert decision.corrections == {"Price": "1234.50"}
    assert refusal(f"{header}8E+4\n").startswith(
        "f.csv: nothing was done: line 2: Price is in scientific notation, so digits may be lost"
    )


def test_lines_are_numbered_as_in_the_file() -> None:
    assert "line 4: " in refusal("sep=,\n\ncase_id,action\n001,ship\n")


def test_card_numbers_come_from_standard_input_only() -> None:
    text = f"case_id,action,cc\n001,resubmit,{CARD}\n002,cancel,\n"
    found = read(text, cards_allowed=True)
    assert [decision.card_number for decision in found] == [CARD, None]
    assert refusal(text) == (
        "f.csv: nothing was done: line 2: a card number may not be in a file, only in standard input or in"
        " --card-numbers-fd"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "f.csv has no column case_id and no column action; the columns are case_id, action, note,"),
        ("case_id\n1\n", "f.csv has no column action;"),
        ("case_id,action,Case Id\n", "f.csv has the column case_id twice"),
        (b"case_id,action\n\xff,close\n", "f.csv is not UTF-8"),
        ('case_id,action\n"001,close\n', "f.csv: line 2 is not valid CSV"),
        ("case_id,action\n001,ship\n", "line 2: action is none of resubmit, fulfill, cancel, close"),
        ("case_id,action\n,close\n", "line 2: case_id is missing"),
        (f"case_id,action\n{CARD},close\n", "line 2: case_id is not the id of a case"),
        ("case_id,action\n1E+05,close\n", "line 2: OrderId is in scientific notation, so its last digits are lost"),
        ("case_id,action\n001,close,more\n", "line 2: it has 3 columns, the header has 2"),
        ("case_id,action\n001,fulfill\n", "line 2: fulfill needs a shipment id of 1 to 128 visible ASCII"),
        (f"case_id,action,shipment_id\n001,fulfill,{CARD}\n", "line 2: the shipment id has 13 or more digits"),
        ("case_id,action\n001,close\n002,close\n001,cancel\n", "line 4: case 001 is already in line 2"),
        (
            'case_id,action\n"0\n1",ship\n\n002,x\n',
            "line 2: action is none of resubmit, fulfill, cancel, close; line 5: ",
        ),
        ("case_id,action\n" + "001,x\n" * 7, "; and 2 more lines"),
        ("case_id,action\n" + "001,x\n" * 6, "; and 1 more line"),
        ("case_id,action\n" + "001,x\n" * 5, "line 6: action is none of resubmit, fulfill, cancel, close"),
        ("case_id,action\n" + "001,close\n" * (MAX_DECISIONS + 1), "f.csv has more than 10,000 lines: divide it"),
    ],
)
def test_a_wrong_file_is_refused_whole_and_names_the_lines(text: str | bytes, problem: str) -> None:
    said = refusal(text)
    assert problem in said
    assert ("more line" in problem) is ("more line" in said)


def test_as_many_lines_as_allowed_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.operations.decisions.MAX_DECISIONS", 2)
    assert len(read("case_id,action\n001,close\n002,close\n")) == 2
    assert refusal("case_id,action\n001,close\n002,close\n003,close\n") == "f.csv has more than 2 lines: divide it"


def test_a_note_is_needed() -> None:
    with pytest.raises(OperationError, match="line 2: note is missing, and there is no --note"):
        read("case_id,action\n001,close\n", note=None)
    with pytest.raises(OperationError, match="line 2: the note must be 1 to 1000 characters"):
        read("case_id,action\n001,close\n", note="x" * 1001)


@given(unicode_text | matching(r"(case_id,action(,cc)?\n)?([0-9a-z,;\"\n ]{0,60})", fullmatch=True))
def test_any_text_is_decisions_or_one_line(text: str) -> None:
    try:
        read_decisions("f.csv", text.encode("utf-8", "replace"), actor="ada", note="x", cards_allowed=True)
    except OperationError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most texts raise, some do not.


def test_card_numbers_are_read_with_the_ids_of_their_cases() -> None:
    text = f"001,{CARD}\r\n\n 002 ; 4929 1234-1234 5678\n003\t{CARD}"
    found = read_card_numbers(text.encode(), ["001", "002", "003", "004"])
    assert found == {"001": CARD, "002": "4929 1234-1234 5678", "003": CARD}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{CARD}\n", "line 1 must be a case's id, a comma and a card number"),
        ("001,abc\n", "line 1 must be a case's id, a comma and a card number"),
        (f"009,{CARD}\n", "the case of line 1 is not among the cases to resubmit"),
        (f"001,{CARD}\n001,{CARD}\n", "the case of line 2 is there twice"),
    ],
)
def test_wrong_card_numbers_are_named_by_line_only(text: str, problem: str) -> None:
    with pytest.raises(OperationError) as raised:
        read_card_numbers(text.encode(), ["001"])
    assert str(raised.value) == f"card numbers: {problem}"
