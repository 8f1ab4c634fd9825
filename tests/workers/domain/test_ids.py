import base64
import hashlib

from workers.domain.cards import looks_like_card
from workers.domain.ids import execution_arn, execution_name, fingerprint, letters, message_case_id

STATE_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Orders"


def test_a_fingerprint_is_stable_and_never_looks_like_a_card_number() -> None:
    prints = [fingerprint(str(number), 52) for number in range(1_000)]
    assert prints == [fingerprint(str(number), 52) for number in range(1_000)]
    assert len(set(prints)) == 1_000
    assert not any(map(looks_like_card, prints))


def test_a_fingerprint_is_the_start_of_the_whole_hash_in_base32() -> None:
    whole = base64.b32encode(hashlib.sha256(b"001").digest()).decode()
    assert [fingerprint("001", length) for length in range(53)] == [whole[:length] for length in range(53)]


def test_letters_are_the_hexadecimal_hash_without_digits() -> None:
    whole = hashlib.sha256(b"001").hexdigest()
    assert letters("001", 32) == "".join(chr(ord("g") + int(c)) if c.isdigit() else c for c in whole)[:32]
    assert letters("001", 64).isalpha()


def test_an_execution_has_its_state_machines_arn_and_a_name() -> None:
    arn = execution_arn(STATE_MACHINE, "one")
    assert arn == "arn:aws:states:us-east-1:123456789012:execution:Orders:one"
    assert execution_name(arn) == "one"


def test_a_message_without_an_order_has_a_case_of_its_own() -> None:
    assert message_case_id("m1") == "message-m1"
