import pytest

from workers.escalation.refusals import MAX_REMEMBERED, SEVERAL, Refusals, Verdict

KEEP, GIVE_UP, CHANNEL = Verdict.KEEP, Verdict.GIVE_UP, Verdict.CHANNEL


def refused(refusals: Refusals, *ids: str, blames_content: bool = True) -> list[Verdict]:
    return [refusals.refused(notification_id, blames_content=blames_content) for notification_id in ids]


def test_one_refusal_is_not_enough_to_give_up() -> None:
    assert refused(Refusals(), "a") == [KEEP]


def test_a_second_refusal_that_blames_the_content_is_enough() -> None:
    assert refused(Refusals(), "a", "a", "a") == [KEEP, GIVE_UP, GIVE_UP]


def test_a_refusal_that_does_not_blame_the_content_is_kept_while_nothing_is_accepted() -> None:
    assert refused(Refusals(), *["a"] * 20, blames_content=False) == [KEEP] * 20


@pytest.mark.parametrize("blames_content", [True, False])
def test_what_is_refused_again_after_another_was_accepted_is_given_up(blames_content: bool) -> None:
    refusals = Refusals()
    assert refused(refusals, "a", "b", blames_content=blames_content) == [KEEP, KEEP]
    refusals.accepted("c")
    assert refused(refusals, "a", "d", "b", blames_content=blames_content) == [GIVE_UP, KEEP, GIVE_UP]


@pytest.mark.parametrize("blames_content", [True, False])
def test_several_different_refusals_in_a_row_are_the_channels_fault(blames_content: bool) -> None:
    refusals = Refusals()
    assert refused(refusals, "a", "b", "c", "a", "d", blames_content=blames_content) == [KEEP, KEEP, *[CHANNEL] * 3]
    refusals.accepted("e")  # It works again.
    assert refused(refusals, "f", "g", blames_content=blames_content) == [KEEP, KEEP]


def test_many_refused_ones_are_all_given_up_once_the_channel_accepts_another() -> None:
    refusals, ids = Refusals(), [str(n) for n in range(50)]
    assert refused(refusals, *ids) == [KEEP] * (SEVERAL - 1) + [CHANNEL] * (50 - SEVERAL + 1)
    refusals.accepted("good")
    assert refused(refusals, *ids) == [GIVE_UP] * 50


def test_what_was_given_up_counts_toward_several_in_a_row() -> None:
    refusals = Refusals()
    assert refused(refusals, "a", "a", "b", "b", "c", "c") == [KEEP, GIVE_UP, KEEP, GIVE_UP, CHANNEL, CHANNEL]


def test_an_accepted_notification_starts_again() -> None:
    refusals = Refusals()
    refused(refusals, "a")
    refusals.accepted("b")
    refusals.accepted("a")
    assert refused(refusals, "a") == [KEEP]


def test_memory_is_bounded() -> None:
    refusals = Refusals()
    for n in range(2 * MAX_REMEMBERED):
        refused(refusals, str(n))
    refusals.accepted("x")
    assert refused(refusals, str(2 * MAX_REMEMBERED - 1), str(MAX_REMEMBERED)) == [GIVE_UP, GIVE_UP]
    assert refused(refusals, str(MAX_REMEMBERED - 1)) == [KEEP]
