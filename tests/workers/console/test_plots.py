"""Small plots: what is drawn, and what screen readers get."""

import re

from workers.console.history import WINDOW_S
from workers.console.plots import HEIGHT, WIDTH, number, plot

NOW_S = 10_000.0
WHOLE = [
    '<svg class="plot" viewBox="0 0 260 64" role="img" aria-label="messages: 4 now, at most 4 in the last 15 minutes">',
    '<path class="axis" d="M0 50.0H260"/>',
    '<path class="area" d="M231.1 41.0L234.0 32.0L234.0 50.0L231.1 50.0Z"/>',
    '<path class="area" d="M245.6 14.0h.1L245.6 50.0L245.6 50.0Z"/>',
    '<path class="line" d="M231.1 41.0L234.0 32.0"/>',
    '<path class="line" d="M245.6 14.0h.1"/>',
    '<circle class="now" cx="245.6" cy="14.0" r="2.6"/>',
    '<text class="top" x="0" y="9">4</text>',
    '<text class="from" x="0" y="62.0">15 min ago</text>',
    '<text class="to" x="260" y="62.0">now</text>',
    "</svg>",
]


def lines(svg: str) -> list[str]:
    return re.findall(r'class="line" d="([^"]*)"', svg)


def test_the_plot_says_what_it_shows_to_those_who_do_not_see_it() -> None:
    svg = plot([(NOW_S - 5, 12.0), (NOW_S, 7.0)], NOW_S, "messages", "/s")
    assert 'aria-label="messages: 7/s now, at most 12/s in the last 15 minutes"' in svg
    assert '<text class="top" x="0" y="9">12/s</text>' in svg


def test_a_plot_as_a_whole() -> None:
    svg = plot([(NOW_S - 100, 1.0), (NOW_S - 90, 2.0), (NOW_S - 50, 4.0)], NOW_S, "messages")
    assert str(svg).replace("><", ">\n<").splitlines() == WHOLE


def test_time_runs_from_left_to_right_and_the_largest_value_is_at_the_top() -> None:
    (line,) = lines(plot([(NOW_S - 10, 4.0), (NOW_S, 8.0)], NOW_S, "messages"))
    x = WIDTH * (1 - 10 / WINDOW_S)
    assert line == f"M{x:.1f} 32.0L{WIDTH:.1f} 14.0"


def test_values_below_one_do_not_fill_the_plot() -> None:
    (line,) = lines(plot([(NOW_S - 10, 0.0), (NOW_S, 0.5)], NOW_S, "messages"))
    assert line.endswith(f"L{WIDTH:.1f} 32.0")


def test_unknown_values_and_times_without_a_reading_are_gaps() -> None:
    series = [(NOW_S - 300, 1.0), (NOW_S - 295, 2.0), (NOW_S - 200, 3.0), (NOW_S - 195, None), (NOW_S - 190, 4.0)]
    assert [line.count("L") for line in lines(plot(series, NOW_S, "messages"))] == [1, 0, 0]
    often = [(NOW_S - 60 + seconds, float(seconds)) for seconds in (0, 20, 40, 60)]
    assert [line.count("L") for line in lines(plot(often, NOW_S, "messages"))] == [3]
    assert len(lines(plot([(NOW_S - 20.1, 1.0), (NOW_S, 2.0)], NOW_S, "messages"))) == 2


def test_times_outside_of_the_window_are_at_its_ends() -> None:
    (line,) = lines(
        plot([(NOW_S - WINDOW_S - 9, 1.0), (NOW_S - WINDOW_S, 1.0), (NOW_S - WINDOW_S + 9, -1.0)], NOW_S, "x")
    )
    assert line == "M0.0 14.0L2.6 50.0"
    assert lines(plot([(NOW_S + 9, 1.0)], NOW_S, "x")) == ["M260.0 14.0h.1"]


def test_the_base_line_is_zero() -> None:
    svg = plot([(NOW_S - 5, 5.0), (NOW_S, 0.0)], NOW_S, "messages")
    assert f"{HEIGHT - 14:.1f}" in lines(svg)[0]


def test_without_a_reading_the_plot_is_empty_and_says_so() -> None:
    for series in ([], [(NOW_S, None)]):
        svg = plot(series, NOW_S, "messages")
        assert lines(svg) == []
        assert "messages: nothing known yet" in svg
        assert "no reading yet" in svg


def test_a_plot_in_a_table_has_no_labels() -> None:
    svg = plot([(NOW_S, 5.0)], NOW_S, "messages", labels=False)
    assert "<text" not in svg
    assert "messages: 5 now" in svg


def test_the_name_is_text() -> None:
    assert "&lt;b&gt;" in plot([], NOW_S, "<b>")


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0.0, -0.5, -123.4, 3.0, 3.25, 99.96, 100.4, 1234.0)] == [
        "0",
        "-0.5",
        "-123",
        "3",
        "3.2",
        "100.0",
        "100",
        "1,234",
    ]
