"""Makes the PNG files of a browser small: with a palette of the colours that a page has most of."""

import struct
import zlib
from collections import Counter

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLORS = 256


def with_palette(png: bytes) -> bytes:
    """Return the same picture with at most 256 colours; *png* has 8 bits for red, green and blue."""
    width, height, pixels = _pixels(png)
    counts = Counter(pixels)
    palette = [color for color, _ in counts.most_common(COLORS)]
    index = {color: n for n, color in enumerate(palette)}
    for color in counts:
        if color not in index:
            index[color] = min(range(len(palette)), key=lambda n: _distance(palette[n], color))
    rows = bytes(index[pixel] for pixel in pixels)
    data = b"".join(b"\0" + rows[n : n + width] for n in range(0, len(rows), width))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(data, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks)


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _pixels(png: bytes) -> tuple[int, int, list[bytes]]:
    """Return width, height, and the three bytes of each pixel."""
    assert png.startswith(SIGNATURE)
    at, data, width, height, channels = len(SIGNATURE), b"", 0, 0, 0
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        if name == b"IHDR":
            width, height, depth, kind = struct.unpack(">IIBB", body[:10])
            assert depth == 8, depth
            channels = {2: 3, 6: 4}[kind]
        elif name == b"IDAT":
            data += body
        at += size + 12
    return width, height, _unfiltered(zlib.decompress(data), width * channels, channels)


def _unfiltered(data: bytes, row_bytes: int, channels: int) -> list[bytes]:
    pixels, above = list[bytes](), bytearray(row_bytes)
    for start in range(0, len(data), row_bytes + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + row_bytes])
        for n in range(row_bytes) if kind else ():
            left = row[n - channels] if n >= channels else 0
            corner = above[n - channels] if n >= channels else 0
            row[n] = (row[n] + _predicted(kind, left, above[n], corner)) & 255
        pixels += (bytes(row[n : n + 3]) for n in range(0, row_bytes, channels))
        above = row
    return pixels


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 1:
        return left
    if kind == 2:
        return up
    if kind == 3:
        return (left + up) // 2
    near = left + up - corner
    return min((left, up, corner), key=lambda each: abs(near - each))
