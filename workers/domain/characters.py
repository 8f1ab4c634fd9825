"""The characters that may be in a message."""

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# The characters of XML 1.0. SQS refuses a message with any other character, also in an attribute (API_SendMessage), and
# SNS delivers to SQS. The others are most control characters, U+FFFE, U+FFFF, and halves of surrogate pairs.
_NOT_SENDABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def sendable(text: str) -> str:
    """Return *text* with U+FFFD instead of each character that SQS and SNS refuse."""
    return _NOT_SENDABLE.sub(REPLACEMENT, text)
