"""Finds out the encoding of a file that does not say it. Spreadsheets write the one of their country or a UTF-16."""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from workers.operations.errors import OperationError

# Byte order marks, also several. The second form is one that was read as Latin-1.
_MARKS = re.compile("(?:\ufeff|\u00ef\u00bb\u00bf)+")
_NOT_TEXT = {
    codecs.BOM_UTF32_LE: "is UTF-32: save it as UTF-8",
    codecs.BOM_UTF32_BE: "is UTF-32: save it as UTF-8",
    b"PK\3\4": "is a workbook or a ZIP file: save it as CSV",
    b"\xd0\xcf\x11\xe0": "is a workbook: save it as CSV",
}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Two characters of ASCII, which a file of orders begins with, in UTF-16 without a byte order mark.
_UTF_16_STARTS = {"utf-16-le": re.compile(rb"[^\0]\0[^\0]\0"), "utf-16-be": re.compile(rb"\0[^\0]\0[^\0]")}
_WESTERN = "windows-1252"
# Other encodings of Western, Central European and Turkish text. A byte that is the same letter in all is unambiguous.
_RELATED = ("iso8859-1", "iso8859-15", "cp1250", "iso8859-2", "cp1254")
_HIGH = re.compile(rb"[\x80-\xff]")
# Tried only where a word begins: else a long word without such a letter would be read again from each of its letters.
_HIGH_WORD = re.compile(rb"(?<![A-Za-z\x80-\xff])[A-Za-z]*+[\x80-\xff][A-Za-z\x80-\xff]*+")
_MAX_READ_BYTES = 65_536


def _unambiguous() -> bytes:
    letters = (bytes([byte]) for byte in range(0xC0, 0x100))
    return b"".join(
        byte
        for byte in letters
        if byte.decode(_WESTERN).isalpha() and {byte.decode(_WESTERN)} == {byte.decode(name) for name in _RELATED}
    )


_UNAMBIGUOUS = _unambiguous()


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file is decoded. If *guessed*, the file itself did not say so."""

    name: str
    errors: str = "strict"
    guessed: bool = False


# Bytes that are not UTF-8 make only their own record bad.
_UTF_8 = Encoding("utf-8", "surrogateescape")


def named_encoding(name: str) -> Encoding:
    """
    Return the encoding that a person has named.

    Raises:
        LookupError: It is unknown, or not one of texts.
    """
    io.TextIOWrapper(io.BytesIO(), name)  # Refuses what `codecs` knows but does not make text, such as hex.
    found = codecs.lookup(name).name
    return _UTF_8 if found == _UTF_8.name else Encoding(found)


def encoding_of(name: str, stream: BinaryIO) -> Encoding:
    """
    Return the encoding of the file *name*. *stream* must be seekable and at its start, and is there again afterwards.

    The whole file is looked at, unless its first bytes are enough.

    Raises:
        OperationError: It is a file of a kind that is not read.
    """
    start = stream.read(4)
    try:
        if start in _NOT_TEXT:
            raise OperationError(f"{name} {_NOT_TEXT[start]}")
        if start.startswith(_UTF_16):
            return Encoding("utf-16")
        for codec, pattern in _UTF_16_STARTS.items():
            if pattern.match(start):
                return Encoding(codec, guessed=True)
        if start.startswith(codecs.BOM_UTF8):
            return _UTF_8
        stream.seek(0)
        return Encoding(_WESTERN, guessed=True) if _is_western(_pieces(stream)) else _UTF_8
    finally:
        stream.seek(0)


def without_marks(text: str) -> str:
    """Return the start of a file's text without its byte order marks."""
    marks = _MARKS.match(text)
    return text[marks.end() :] if marks else text


def is_misread(text: str) -> bool:
    """Return whether *text* looks like UTF-8 that was read in a Western encoding, such as an `ü` that became `Ã¼`."""
    return not text.isascii() and any(_is_utf_8(text, name) for name in (_WESTERN, "iso8859-1"))


def _is_utf_8(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding).decode()
    except UnicodeError:
        return False
    return True


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines, but what is only ASCII in large blocks: most files are nothing else."""
    while block := stream.read(_MAX_READ_BYTES):
        block += stream.readline(_MAX_READ_BYTES)
        if block.isascii():
            yield block
        else:
            yield from io.BytesIO(block)


def _is_western(pieces: Iterator[bytes]) -> bool:
    """
    Return whether a text can only be Windows-1252, or one of its relatives that would give the same.

    Nothing in it is more than ASCII in UTF-8, and each of its other letters is in a word of ASCII letters, is the same
    in all related encodings and none of DOS, Cyrillic, Greek, ... text.
    """
    decoder, found = codecs.getincrementaldecoder("utf-8")(), False
    for piece in pieces:
        if piece.isascii() and not decoder.getstate()[0]:
            continue
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError:
            if not all(map(_is_unambiguous, _HIGH_WORD.findall(piece))):
                return False
            decoder.reset()
            found = True
        else:
            if not text.isascii():  # It has UTF-8, so that what is not UTF-8 is a mistake in it.
                return False
    return found


def _is_unambiguous(word: bytes) -> bool:
    high = _HIGH.findall(word)
    return all(byte in _UNAMBIGUOUS for byte in high) and 2 * len(high) <= len(word)
