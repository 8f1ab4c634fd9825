"""Lines of any content, however their bytes arrive."""

import io

from hypothesis import given
from hypothesis import strategies as st

from workers.operations.lines import Line, read


class Drip(io.BytesIO):
    """Returns chunks of the given sizes, as a pipe may."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self._sizes = sizes

    def read(self, _size: int | None = -1) -> bytes:
        return super().read(self._sizes.pop() if self._sizes else -1)


@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(1, 9)), st.integers(1, 10))
def test_lines_are_whole_or_counted_however_the_bytes_arrive(pieces: list[bytes], sizes: list[int], most: int) -> None:
    content = b"\n".join(pieces)
    lines = content.split(b"\n")
    expected = [Line(line[:most], max(0, len(line) - most)) for line in (lines if lines[-1] else lines[:-1])]
    assert list(read(Drip(content, sizes), max_line_bytes=most)) == expected
