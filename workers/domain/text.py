"""Makes text that others wrote safe to show."""

import unicodedata

from workers.domain.cards import mask
from workers.domain.characters import REPLACEMENT

_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode's categories; Cf can reverse text.


def clean(text: object) -> str:
    """
    Return *text* on one line, with card-like digit runs masked and control characters replaced.

    Orders and messages contain text from strangers. A name could change a terminal's title or hide the text after it.
    """
    shown = str(text)
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(
            " " if char in "\t\r\n" else REPLACEMENT if unicodedata.category(char) in _UNPRINTABLE else char
            for char in shown
        )
    return mask(shown)  # Mask last: digit groups from separate lines may form one card number now.
