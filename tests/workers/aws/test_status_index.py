from datetime import date

import pytest

from workers.aws.status_index import final_keys, is_open_key, open_keys, status_key

AT = "2026-11-22T23:59:59.999999Z"
ORDERS = [f"order-{n}" for n in range(200)]


@pytest.mark.parametrize(
    ("status", "order_id", "key"), [("RECEIVED", "001", "RECEIVED#7"), ("OPEN", "Zo\u00eb", "OPEN#c")]
)
def test_the_key_of_what_is_open_is_its_status_and_one_hash_digit_of_its_id(
    status: str, order_id: str, key: str
) -> None:
    assert status_key(status, order_id, AT) == key


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED", "RESOLVED"])
def test_the_key_of_what_is_final_has_the_day_too(status: str) -> None:
    assert status_key(status, "001", AT) == f"{status}#2026-11-22#7"


def test_keys_are_spread_over_sixteen_shards() -> None:
    assert {status_key("RECEIVED", order_id, AT) for order_id in ORDERS} == {*open_keys("RECEIVED")}
    assert {status_key("FULFILLED", order_id, AT) for order_id in ORDERS} == {
        *final_keys("FULFILLED", date(2026, 11, 22))
    }
    assert len(open_keys("RECEIVED")) == len(final_keys("FULFILLED", date(2026, 11, 22))) == 16


def test_only_the_key_of_an_open_status_is_open() -> None:
    assert is_open_key("OPEN#1", "OPEN")
    assert not any(is_open_key(key, "OPEN") for key in ("RESOLVED#2026-11-22#1", "OPENED#1", None))
