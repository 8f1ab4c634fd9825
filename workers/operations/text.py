"""Text that others wrote, made safe to show."""

import unicodedata

from workers.domain.cards import mask

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode's categories; Cf can turn the direction of text.


def clean(text: object) -> str:
    """
    Return *text* on one line, with card-like digit runs masked and control characters replaced.

    Orders and messages hold text of strangers: a name could retitle a terminal's window or hide what follows.
    """
    shown = str(text)
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(
            " " if char in "\t\r\n" else REPLACEMENT if unicodedata.category(char) in _UNPRINTABLE else char
            for char in shown
        )
    return mask(shown)  # Last: digit groups on separate lines are one card number now.
