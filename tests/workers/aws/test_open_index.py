from workers.aws.open_index import open_key, open_keys


def test_an_open_key_is_the_status_and_one_hash_digit_of_the_id() -> None:
    assert open_key("RECEIVED", "001") == "RECEIVED#7"
    assert open_key("ESCALATED", "001") == "ESCALATED#7"
    assert open_key("OPEN", "Zo\u00eb") == "OPEN#c"


def test_open_keys_are_spread_over_sixteen_shards() -> None:
    assert {open_key("RECEIVED", f"order-{n}") for n in range(200)} == {*open_keys("RECEIVED")}
    assert len(open_keys("RECEIVED")) == 16
