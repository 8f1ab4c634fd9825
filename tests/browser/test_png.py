"""What makes pictures small leaves each pixel as it was, as far as 256 colours allow."""

import struct
import zlib

import pytest

from tests.browser.png import SIGNATURE, _chunk, _pixels, _predicted, with_palette


def picture(rows: list[list[bytes]], kind: int) -> bytes:
    """Return a PNG of *rows* of pixels, each row filtered in the way *kind*."""
    width, channels = len(rows[0]), len(rows[0][0])
    data, above = b"", bytes(width * channels)
    for row in rows:
        flat = b"".join(row)
        sides = (bytes(channels) + flat)[: len(flat)], above, (bytes(channels) + above)[: len(flat)]
        data += bytes([kind])
        data += bytes(
            (value - (_predicted(kind, sides[0][n], sides[1][n], sides[2][n]) if kind else 0)) % 256
            for n, value in enumerate(flat)
        )
        above = flat
    header = struct.pack(">IIBBBBB", width, len(rows), 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(data)) + _chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("end", [b"", b"\xff"])
def test_every_filter_is_read(kind: int, end: bytes) -> None:
    rows = [[bytes((40 * x, 70 * y, x * y * 9)) + end for x in range(5)] for y in range(3)]
    assert _pixels(picture(rows, kind)) == (5, 3, [pixel[:3] for row in rows for pixel in row])


def test_a_picture_of_few_colours_keeps_them() -> None:
    rows = [[bytes((x % 7 * 30, y % 5 * 50, 255)) for x in range(30)] for y in range(30)]
    made = with_palette(picture(rows, 0))
    size = made.index(b"PLTE") - 4
    colors = made[size + 8 : size + 8 + struct.unpack(">I", made[size : size + 4])[0]]
    start = made.index(b"IDAT") + 4
    data = zlib.decompress(made[start : start + struct.unpack(">I", made[start - 8 : start - 4])[0]])
    shown = [colors[3 * n : 3 * n + 3] for y in range(30) for n in data[y * 31 + 1 : y * 31 + 31]]
    assert shown == [pixel for row in rows for pixel in row]


def test_a_rare_colour_becomes_the_nearest() -> None:
    many = [bytes((n, 0, 0)) for n in range(256)] * 2
    made = with_palette(picture([[*many, bytes((9, 1, 0))]], 0))
    start = made.index(b"IDAT") + 4
    assert zlib.decompress(made[start:])[-1] == 9
