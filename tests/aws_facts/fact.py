"""
What a fact about AWS is: a statement, its source, the files that rely on it, and a check.

    fact = facts_of("sqs")

    @fact("A receive that finds nothing has no `Messages`.", source=..., relied_on_by=("workers/aws/sqs.py",), expected=False)
    def an_empty_receive_has_no_messages(lab: Lab) -> object:
        return "Messages" in lab.sqs.receive_message(QueueUrl=lab.queue())

The check returns what it observed, as plain JSON values. The fact holds if that equals `expected`. Its id is the service
and the name of the check: `sqs.an_empty_receive_has_no_messages`.
"""  # noqa: E501 - the example

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.aws_facts.lab import Lab

Check = Callable[[Lab], object]

# Tests that their authors also run on AWS; beside each file is a snapshot of what AWS answered.
RECORDED = "https://github.com/localstack/localstack/blob/8b9a79f05846835cf4dff63ab7eefdde9df83783/tests/aws/services/"


class AnyOf(tuple[Any, ...]):
    """Several expected values. AWS documents more than one, or none; the code works with each."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """
    One fact. `source` is the page that says so, or the recording or SDK model that shows it.

    `relied_on_by` has paths from the repository's root, each with a name in that file: `workers/aws/sqs.py::SqsQueue`.
    """

    id: str
    service: str
    statement: str
    source: str
    relied_on_by: tuple[str, ...]
    expected: object
    check: Check

    def agrees_with(self, observed: object) -> bool:
        return observed in self.expected if isinstance(self.expected, AnyOf) else observed == self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found. `observed` is what AWS did, as plain JSON values, or "error: ..." if the check failed."""

    fact: Fact
    holds: bool
    observed: object
    seconds: float

    @property
    def id(self) -> str:
        return self.fact.id


class Decorator(Protocol):
    """See `facts_of`."""

    def __call__(
        self, statement: str, *, source: str, relied_on_by: tuple[str, ...], expected: object
    ) -> Callable[[Check], Check]: ...


_registered: dict[str, Fact] = {}


def registered() -> tuple[Fact, ...]:
    return tuple(_registered.values())


def facts_of(service: str) -> Decorator:
    """Return a decorator that registers checks of a service."""

    def fact(
        statement: str, *, source: str, relied_on_by: tuple[str, ...], expected: object
    ) -> Callable[[Check], Check]:
        def register(check: Check) -> Check:
            fact_id = f"{service}.{check.__name__}"
            if fact_id in _registered:
                raise ValueError(f"two facts are called {fact_id}")
            _registered[fact_id] = Fact(
                id=fact_id,
                service=service,
                statement=statement,
                source=source,
                relied_on_by=relied_on_by,
                expected=expected,
                check=check,
            )
            return check

        return register

    return fact
