import random

import pytest
import structlog

from workers.consumer.demand import MAX_RECEIVE_S, Demand


def answer(demand: Demand, received: int = 5, took_s: float = 0.015, times: int = 1) -> None:
    for _ in range(times):
        demand.answered(received, took_s, demand.polls)


def test_polls_grow_by_one_when_each_has_had_an_answer_at_once() -> None:
    demand, polls = Demand(max_polls=4), []
    for _ in range(12):
        answer(demand)
        polls.append(demand.polls)
    assert polls == [2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("received", [1, 2, 9, 10])
def test_a_short_answer_ends_no_poll(received: int) -> None:
    demand = Demand(max_polls=20)
    answer(demand, received, times=300)
    assert demand.polls == 20


@pytest.mark.parametrize(("received", "took_s"), [(0, 0.0), (0, 1.0), (1, 0.2), (10, 0.2)])
def test_an_answer_that_is_empty_or_had_to_wait_ends_a_poll(received: int, took_s: float) -> None:
    demand = Demand(max_polls=20)
    answer(demand, times=100)
    grown = demand.polls
    answer(demand, received, took_s)
    assert demand.polls == grown - 1
    answer(demand, received, took_s, times=grown)
    assert demand.polls == 1


def test_polls_do_not_grow_without_slots_for_those_allowed_already() -> None:
    demand = Demand(max_polls=20)
    answer(demand, times=3)
    assert demand.polls == 3
    for _ in range(100):
        demand.answered(10, 0.015, running=2)
    assert demand.polls == 3


def test_one_poll_stays_while_messages_come_now_and_then() -> None:
    demand, pace = Demand(max_polls=20), random.Random(0)
    polls = []
    for _ in range(2000):
        answer(demand, 1, 0.001 + pace.expovariate(20))
        polls.append(demand.polls)
    assert sum(polls) / len(polls) < 1.3
    assert max(polls) <= 4


@pytest.mark.parametrize("median_s", [0.001, 0.015, 0.03, 0.2])
def test_short_answers_that_vary_as_on_aws_are_a_backlog_at_any_latency(median_s: float) -> None:
    demand, pace = Demand(max_polls=20), random.Random(0)
    polls = []
    for _ in range(3000):
        answer(demand, pace.randint(1, 10), median_s * pace.lognormvariate(0, 0.35))
        polls.append(demand.polls)
    assert sum(polls[1000:]) / 2000 > 18


def test_a_slower_network_becomes_usual() -> None:
    demand = Demand(max_polls=20)
    answer(demand, took_s=0.005, times=300)
    answer(demand, took_s=0.1, times=50)
    assert demand.polls == 1
    answer(demand, took_s=0.1, times=400)
    assert demand.polls == 20


@pytest.mark.parametrize(("took_s", "polls"), [(1.0, 3), (1.01, 1)])
def test_a_receive_has_waited_if_it_took_more_than_four_times_as_long_as_usual(took_s: float, polls: int) -> None:
    demand = Demand(max_polls=4, polls=2, receive_s=0.25)
    answer(demand, took_s=took_s)
    demand.receive_s = 0.25
    answer(demand, took_s=took_s)
    assert demand.polls == polls


def test_waits_never_become_usual() -> None:
    demand, pace = Demand(max_polls=20), random.Random(0)
    answer(demand, took_s=0.015)
    for _ in range(2000):
        answer(demand, 1, pace.uniform(3.0, 6.0))
        assert demand.polls == 1
    assert demand.receive_s == MAX_RECEIVE_S


def test_a_long_wait_at_first_is_not_taken_for_the_usual_duration() -> None:
    demand = Demand(max_polls=20)
    answer(demand, 1, 17.0)
    answer(demand, 1, 0.015)
    assert demand.receive_s == 0.015


def test_an_empty_answer_does_not_change_the_usual_duration() -> None:
    demand = Demand(max_polls=20)
    answer(demand, took_s=0.015)
    answer(demand, 0, 0.001)
    assert demand.receive_s == 0.015


@pytest.mark.usefixtures("at_debug")
def test_each_change_of_the_polls_has_a_log_line() -> None:
    demand = Demand(max_polls=4)
    with structlog.testing.capture_logs() as logs:
        answer(demand)
        demand.shrink()
        demand.shrink()
        for received, took_s in ((5, 1.0), (0, 20.0)):
            demand.polls = 2
            answer(demand, received, took_s)
    line = {"event": "polls.changed", "log_level": "debug"}
    assert logs == [
        line | {"polls": 2, "before": 1, "reason": "messages came at once"},
        line | {"polls": 1, "before": 2, "reason": "a receive failed"},
        line | {"polls": 1, "before": 2, "reason": "messages had to be waited for"},
        line | {"polls": 1, "before": 2, "reason": "the queue is empty"},
    ]
