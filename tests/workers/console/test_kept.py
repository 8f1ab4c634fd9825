"""What the console keeps between two requests is bounded, and has an id that nobody can guess."""

from workers.console.kept import Kept, new_id
from workers.domain.cards import mask


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def kept(at_most: int = 2, busy: str = "") -> tuple[Kept[str], Clock]:
    clock = Clock()
    return Kept[str](at_most, 10, busy=lambda value: value == busy, now_s=clock), clock


def test_an_id_is_never_masked() -> None:
    ids = {new_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(each.isalpha() and mask(each) == each for each in ids)


def test_the_one_that_was_not_used_for_the_longest_makes_room() -> None:
    values, clock = kept()
    for n, each in enumerate("ab"):
        clock.now_s = n
        values.add(each, each)
    clock.now_s = 2
    assert values.get("a") == "a"
    assert values.add("c", "c")
    assert list(values) == ["a", "c"]


def test_what_is_busy_is_neither_dropped_nor_does_it_expire() -> None:
    values, clock = kept(at_most=1, busy="a")
    values.add("a", "a")
    assert not values.add("b", "b")
    clock.now_s = 100
    assert list(values) == ["a"]
    assert values.get("a") == "a"


def test_a_value_is_kept_for_a_while_after_its_last_use() -> None:
    values, clock = kept()
    values.add("a", "a")
    clock.now_s = 10
    assert values.get("a") == "a"
    clock.now_s = 20
    assert values.get("a") == "a"
    clock.now_s = 31
    assert values.get("a") is None
    values.add("b", "b")
    clock.now_s = 42
    values.add("c", "c")
    assert list(values) == ["c"]
    clock.now_s = 53
    assert values.drop_expired() == ["c"]
    assert values.drop_expired() == []
