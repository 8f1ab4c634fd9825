import hashlib

import pytest

from tests.lambda_.test_verify_cc_and_price import verify
from tests.statemachine import test_definition as workflow
from tests.workers.domain.examples import CARD, UUID
from workers.domain.cards import looks_like_card
from workers.domain.ids import fingerprint
from workers.domain.submissions import (
    improper_fields,
    malformed_fields,
    recorded_fields,
    submission_name,
    submission_number,
)

FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678"]
PROPER: dict[str, object] = {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
ALL = list(PROPER)
MALFORMED: list[tuple[object, list[str]]] = [
    (PROPER, []),
    (PROPER | {"Color": "red", "Card": CARD}, []),
    (PROPER | {"Price": "", "CC": ""}, []),  # Not proper, but well-formed: the verification finds that.
    (PROPER | {"Price": "x" * 256, "CC": "x" * 256, "Name": "x" * 256, "ItemName": "x" * 256}, []),
    (PROPER | {"Name": "\U0001f6b2" * 256}, []),
    (PROPER | {"Name": "\n", "ItemName": " "}, []),
    (PROPER | {"OrderId": "a" * 64}, []),
    (PROPER | {"OrderId": "1" * 12}, []),
    (PROPER | {"OrderId": UUID}, []),
    (PROPER | {"OrderId": f"a-{UUID}.b"}, []),
    ({}, ALL),
    ([], ALL),
    ([PROPER], ALL),
    ("x", ALL),
    (None, ALL),
    (1, ALL),
    (dict.fromkeys(ALL), ALL),
    (dict.fromkeys(ALL, ""), ["OrderId", "Name", "ItemName"]),
    (PROPER | {"Price": None}, ["Price"]),
    (PROPER | {"Price": 80000, "CC": int(CARD)}, ["Price", "CC"]),
    (PROPER | {"Price": {"S": "1"}, "CC": ["1"]}, ["Price", "CC"]),
    (PROPER | {"Name": "x" * 257, "CC": "1" * 257}, ["Name", "CC"]),
    (PROPER | {"Price": "x" * 257, "ItemName": "\U0001f6b2" * 257}, ["ItemName", "Price"]),
    ({name: value for name, value in PROPER.items() if name != "OrderId"}, ["OrderId"]),
    *(
        (PROPER | {"OrderId": order_id}, ["OrderId"])
        for order_id in (
            *("", "a" * 65, "-a", ".a", "_a", "a b", "a/b", "a\n", "\u0661", "\u00e9", "1" * 13, "1-" * 13, CARD),
            *(
                FORMS[1],
                f"x{CARD}",
                f"{UUID}-{CARD}",
                f"{UUID}1234567890123",
                f"{CARD}-abcd-abcd-abcd-abcdefabcdef",
                f"00000000-0000-4000-8000-{CARD}",
                1,
                True,
                ["001"],
                None,
            ),
        )
    ),
]


@pytest.mark.parametrize(("malformed", "fields"), MALFORMED, ids=str)
def test_malformed_fields_are_found(malformed: object, fields: list[str]) -> None:
    assert malformed_fields(malformed) == fields


@pytest.mark.parametrize(("malformed", "fields"), [row for row in MALFORMED if isinstance(row[0], dict)], ids=str)
def test_the_workflow_finds_the_same_malformed_fields(malformed: object, fields: list[str]) -> None:
    assert workflow.is_accepted(malformed) == (not fields)
    assert workflow.malformed(malformed)["Detail"] == f"Malformed fields: {', '.join(fields)}."


@pytest.mark.parametrize("price", ["80000", "0.01", "1.5", "0", "0.00", "-1", "01", "1.", "1.234", "", "1e3", "9" * 13])
@pytest.mark.parametrize("cc", [CARD, CARD[:12], f"{CARD}0", FORMS[1], "", "\u0661" * 16, f"{CARD}\n"])
def test_the_verification_finds_the_same_improper_fields(price: str, cc: str) -> None:
    names = {"INVALID_PRICE": "Price", "INVALID_CARD_NUMBER": "CC"}
    reasons = verify({"OrderId": "001", "Price": price, "CC": cc})["Reasons"]
    found = improper_fields({"OrderId": "001", "Price": price, "CC": cc})
    assert sorted(found) == sorted(names[reason] for reason in reasons)


@pytest.mark.parametrize("order_id", ["001", "1" * 12, "a" * 64, UUID])
def test_a_submission_name_is_valid_and_not_like_a_card_number(order_id: str) -> None:
    names = [submission_name(order_id, number) for number in (1, 2, 100)]
    assert len(set(names)) == 3
    for name in names:
        assert len(name) <= 80
        assert name.startswith("submission-")
        assert name.replace("-", "").isalnum()
        assert not looks_like_card(name)


def test_the_name_of_a_submission_stays_the_same() -> None:
    digits = str.maketrans("0123456789", "ghijklmnop")
    for order_id in ("001", "a" * 64):
        digest = hashlib.sha256(order_id.encode()).hexdigest()[:26].translate(digits)
        assert submission_name(order_id, 12) == f"submission-{digest}-12"


def test_the_number_of_a_submission_is_in_its_name() -> None:
    for number in (1, 2, 10, 999_999):
        assert submission_number("001", submission_name("001", number)) == number
    assert submission_number("001", f"submission-{fingerprint('001', 26)}-3") == 3  # As version 1 named it.
    other, first = submission_name("002", 1), submission_name("001", 1)
    for name in (
        "",
        "other",
        "resubmission-2",
        other,
        f"{first[:-1]}01",
        f"{first[:-1]}\u0661",
        first[:-1],
        f"x{first}",
    ):
        assert submission_number("001", name) is None


def test_fields_are_masked_as_they_are_recorded() -> None:
    order = {"OrderId": "001", "Name": f"Ada {CARD}", "ItemName": UUID, "Price": "1", "CC": CARD, "More": "x"}
    assert recorded_fields(order) == {
        "Name": "Ada ****",
        "ItemName": workflow.recorded("ItemName", UUID),
        "Price": "1",
        "CC": f"************{CARD[-4:]}",
    }
