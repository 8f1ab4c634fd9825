"""Ids that are derived from other ids."""

import base64
import hashlib
import math


def fingerprint(text: str, length: int) -> str:
    """
    Return the first *length* (up to 52) characters of a hash of *text*.

    Base32, because a hexadecimal hash can contain a run of digits that looks like a card number.
    """
    # Eight characters are five bytes. Encoding the whole hash, in Python, would take 2 us more for a shipment id.
    needed = hashlib.sha256(text.encode()).digest()[: math.ceil(length / 8) * 5]
    return base64.b32encode(needed).decode()[:length]


_HEXADECIMAL_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def letters(text: str, length: int) -> str:
    """
    Return the first *length* (up to 64) characters of the hexadecimal hash of *text*, with letters for its digits.

    Unlike `fingerprint`, JSONata can do that, too. A run of digits could look like a card number.
    """
    return hashlib.sha256(text.encode()).hexdigest()[:length].translate(_HEXADECIMAL_LETTERS)


def execution_arn(state_machine_arn: str, name: str) -> str:
    """Return the ARN of the execution *name* of a state machine, whether it was started or not."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def execution_name(arn: str) -> str:
    """Return the name of an execution from its ARN."""
    return arn.rpartition(":")[2]


def message_case_id(message_id: str) -> str:
    """Return the id of the case about a message that names neither an order nor an execution."""
    return f"message-{message_id}"
