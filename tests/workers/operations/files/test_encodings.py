"""Encodings that a file does not name: taken if nothing else is possible, else its records are named."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unicode_text
from workers.operations.errors import OperationError
from workers.operations.files.encodings import Encoding, encoding_of, is_misread, named_encoding

UTF_8 = Encoding("utf-8", "surrogateescape")
WESTERN = Encoding("windows-1252", guessed=True)


def found(data: bytes) -> Encoding:
    stream = io.BytesIO(data)
    encoding = encoding_of("x", stream)
    assert stream.read() == data
    return encoding


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", UTF_8),
        (b"OrderId", UTF_8),
        ("Zo\u00eb".encode(), UTF_8),
        ("Zo\u00eb".encode("utf-8-sig"), UTF_8),
        ("Zo\u00eb".encode("utf-16"), Encoding("utf-16")),
        ("OrderId".encode("utf-16-le"), Encoding("utf-16-le", guessed=True)),
        ("OrderId".encode("utf-16-be"), Encoding("utf-16-be", guessed=True)),
        ("M\u00fcller, Stra\u00dfe, Zo\u00eb, Jos\u00e9, \u00d6l, \u00c9va".encode("latin-1"), WESTERN),
        (b"\xd6l", WESTERN),
        (b"\xd6\xd6l", UTF_8),
        ("\ufeffM\u00fcller".encode("utf-8") + b"M\xfcller", UTF_8),  # A mark says that it is UTF-8.
        ("M\u00fcller".encode() + b"\nM\xfcller", UTF_8),
        (b"M\xfcller\n" + "M\u00fcller".encode(), UTF_8),
    ],
)
def test_the_encoding_is_what_it_can_only_be(data: bytes, encoding: Encoding) -> None:
    assert found(data) == encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u0418\u0432\u0430\u043d", "cp1251"),
        ("\u0393\u03b9\u03ce\u03c1\u03b3\u03bf\u03c2", "cp1253"),
        ("Ma\u0142gorzata Ku\u0144a", "cp1250"),
        ("Ku\u0144a", "cp1250"),
        ("M\u00fcller", "cp850"),
        ("M\u00fcller", "mac-roman"),
        ("\u5f20\u4f1f", "gb18030"),
        ("\u5c71\u7530", "shift-jis"),
        ("Pe\u00f1a", "cp1252"),
        ("10 \u20ac", "cp1252"),
        ("O\u2019Brien", "cp1252"),
    ],
)
def test_an_encoding_that_may_be_another_is_not_guessed(text: str, encoding: str) -> None:
    assert found(text.encode(encoding)) == UTF_8


def test_one_word_that_may_be_another_is_enough() -> None:
    assert found("M\u00fcller\nPe\u00f1a\n".encode("latin-1")) == UTF_8


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_long_lines_of_utf_8_are_not_mistaken(size: int) -> None:
    assert found(b"a" * (size - 1) + "\u00fc\u00e9".encode() * 3) == UTF_8
    assert found(b"a" * size + "\u00fc".encode()) == UTF_8


@pytest.mark.parametrize("size", [65_534, 65_535, 65_536])
def test_a_word_is_not_cut_where_a_block_of_the_file_ends(size: int) -> None:
    assert found(b"x" * (size - 1) + b"\nA\xfc\n") == WESTERN


def test_a_long_word_of_ascii_is_read_once() -> None:
    assert found(b"a" * 100_000 + b" M\xfcller\n") == WESTERN


def test_utf_32_is_refused() -> None:
    with pytest.raises(OperationError, match="x is UTF-32: save it as UTF-8"):
        found("OrderId".encode("utf-32"))


@given(
    st.binary()
    | unicode_text.map(str.encode)
    | st.text("aZ\u00fc\u00df\u0142\u0418 \n").map(lambda text: text.encode("cp1252", "replace"))
)
def test_any_file_has_an_encoding_or_is_refused(data: bytes) -> None:
    try:
        encoding = found(data)
    except OperationError:
        return
    if encoding == WESTERN:
        assert data.decode("windows-1252")
        with pytest.raises(UnicodeDecodeError):
            data.decode()


@given(unicode_text.filter(lambda text: "\0" not in text))
def test_utf_8_is_never_taken_for_another_encoding(text: str) -> None:
    assert found(text.encode()) == UTF_8


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("UTF8", UTF_8),
        ("Latin-1", Encoding("iso8859-1")),
        ("windows-1252", Encoding("cp1252")),
        ("cp850", Encoding("cp850")),
    ],
)
def test_an_encoding_may_be_named(name: str, encoding: Encoding) -> None:
    assert named_encoding(name) == encoding


@pytest.mark.parametrize("name", ["", "none", "hex", "zip"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(LookupError):
        named_encoding(name)


@pytest.mark.parametrize(
    ("text", "misread"),
    [
        ("Zo\u00c3\u00ab", True),
        ("\u00c3\u0081", True),
        ("Zo\u00eb", False),
        ("Zoe", False),
        ("", False),
        ("\u5f20", False),
    ],
)
def test_utf_8_that_was_read_as_western_is_noticed(text: str, *, misread: bool) -> None:
    assert is_misread(text) is misread
