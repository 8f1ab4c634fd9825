"""
Whatever AWS answers to any call, the worker keeps running, no order loses an attempt, and work continues afterward.

The sets below are the specification, written down apart from the code: every code that is not in them,
known or not, is an outage. The long version (`-m chaos`) has the waits of a real worker and lasts 6 s for each error.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import structlog

import workers.wiring
from tests.answers.double import Answer, Double
from tests.answers.errors import FOREIGN, TOMORROW, codes, refusing
from tests.answers.scenarios import ORDER_ID, QUICK, SCENARIOS, Scenario, consumer_of
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import FatalError
from workers.metrics import Metrics

AT_ONCE = 100  # Consumers in this process.
TIMEOUT_S = 30.0

# A deleted queue ends a worker.
GONE = {"QueueDoesNotExist"}
# AWS blames the request itself: a failed attempt of that one order.
_SQS_BLAMES = {
    *("InvalidMessageContents", "InvalidParameterValue", "InvalidParameterCombination", "InvalidAttributeValue"),
    *("BatchRequestTooLong", "MissingParameter", "SerializationException", "ValidationError", "ValidationException"),
}
_DYNAMODB_BLAMES = {
    *("ConditionalCheckFailedException", "DuplicateItemException", "ItemCollectionSizeLimitExceededException"),
    *("SerializationException", "ValidationException"),
}
BLAMES = {
    "SendMessage": _SQS_BLAMES,
    **dict.fromkeys(
        ("BatchExecuteStatement", "BatchGetItem", "UpdateItem", "TransactWriteItems", "Query"), _DYNAMODB_BLAMES
    ),
}
# Answers with status 200 that make no sense.
MALFORMED: dict[str, list[dict[str, object]]] = {
    "ReceiveMessage": [
        {"Messages": 5},
        {"Messages": "x"},
        {"Messages": [None]},
        {"Messages": [{"MessageId": "x"}]},
        {"Messages": [{"MessageId": "x", "ReceiptHandle": "r", "Body": None}]},
        {"Messages": [{"MessageId": "", "ReceiptHandle": "", "Body": ""}]},
    ],
    "DeleteMessageBatch": [
        {},
        {"Successful": None},
        {"Successful": [{}], "Failed": [{}]},
        {"Successful": [{"Id": "99"}, {"Id": "-1"}, {"Id": "x"}, None], "Failed": "x"},
        {"Failed": [{"Id": "0", "Code": TOMORROW}]},
        {"Failed": [{"Id": "0"}]},
    ],
    "ChangeMessageVisibilityBatch": [{}, {"Successful": [{}]}, {"Failed": [{"Id": "0", "Code": TOMORROW}]}],
    "BatchExecuteStatement": [
        {},
        {"Responses": None},
        {"Responses": []},
        {"Responses": [{}, {}]},
        {"Responses": ["x"]},
        {"Responses": [{"Error": {}}]},
        {"Responses": [{"Error": {"Code": TOMORROW}}]},
        {"Responses": [{"Error": {"Code": "ConditionalCheckFailed", "Item": 5}}]},
    ],
    "BatchGetItem": [
        {},
        {"Responses": None},
        {"Responses": {}},
        {"Responses": {"OrderTable": 5, "EscalationTable": None}},
        {"Responses": {"OrderTable": [5], "EscalationTable": [{}]}},
        {"Responses": {"OrderTable": [{"OrderId": 5}], "EscalationTable": [{"CaseId": {"N": "5"}}]}},
        {"Responses": {"OrderTable": [{"OrderId": {"S": "answer-1"}, "Status": {"Q": "x"}}], "EscalationTable": []}},
        {"Responses": {"OrderTable": [], "EscalationTable": [], "NoSuchTable": []}},
        {"Responses": {"OrderTable": [], "EscalationTable": []}, "UnprocessedKeys": 5},
        {"Responses": {}, "UnprocessedKeys": {"OrderTable": {"Keys": [{}]}}},
        {"Responses": {}, "UnprocessedKeys": {"OrderTable": {}, "EscalationTable": {}}},
    ],
    "ListQueueTags": [{}, {"Tags": 5}, {"Tags": None}, {"Tags": []}, {"Tags": {"other": 5}}],
    "Query": [{"Items": 5}, {"Items": [{}]}, {"Count": 0}],
    "UpdateItem": [{}, {"Attributes": {}}, {"Attributes": {"Attempts": {"S": "x"}}}],
    "GetSecretValue": [{"SecretString": 5}, {"SecretString": "two words"}, {"ARN": "x"}],
}


SAMPLED = 8  # Of the answers to each call, one in so many is tried by the unit tests; `make test` tries them all.

Size = tuple[
    int, Timings, float, int
]  # Which answers are tried, the timings, how long an answer lasts, how many at once.


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    answer: Answer
    blames: bool = False


def cases_of(scenario: Scenario) -> Iterator[Case]:
    """Yield every answer that must not end the worker."""
    for code in codes():
        if code not in GONE:
            yield Case(code, refusing(code), code in BLAMES.get(scenario.operation, ()))
    for name, answer in FOREIGN.items():
        yield Case(name, answer)
    if scenario.operation != "UpdateItem" or scenario.attempts:  # The answer to a recorded notification is not read.
        for document in MALFORMED.get(scenario.operation, []):
            yield Case(str(document), dict(document))


async def survives(scenario: Scenario, case: Case, timings: Timings, last_s: float) -> None:
    """Run a worker through *case* for *last_s* seconds, at least for two calls; then its message must be done."""
    visible_s = scenario.visibility_timeout_s if last_s == 0 else max(30, scenario.visibility_timeout_s)
    double = Double(scenario.operation, None, visibility_timeout_s=visible_s)
    metrics, stop = Metrics(), asyncio.Event()
    consumer = await consumer_of(scenario, double, metrics, timings)
    double.answer = case.answer
    double.put_order(ORDER_ID)
    double.send("m1", scenario.body)
    running = asyncio.create_task(consumer.run(stop))

    async def until(condition: Callable[[], bool], what: str) -> None:
        began_s, look_s = asyncio.get_running_loop().time(), 0.001
        while not condition():
            assert not running.done(), f"{case.name}: the worker ended before: {what}; {running}"
            assert asyncio.get_running_loop().time() - began_s < TIMEOUT_S, f"{case.name}: no {what}"
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, 0.1)  # Most answers come at once, an extension after seconds.

    try:
        # A channel that fails is left alone for a while, tags are read once a minute, and a fault of the request may
        # end the message.
        once = case.blames or scenario.operation in {"Publish", "ListQueueTags"}
        await until(lambda: double.hits >= (1 if once else 2), "call that fails")
        await asyncio.sleep(0 if case.blames else last_s)  # Blamed for 6 s, an order would use up its attempts.
        double.clear()
        await until(lambda: scenario.done(double), "end of the message")
        stop.set()
        async with asyncio.timeout(TIMEOUT_S):
            await running
    finally:
        running.cancel()
        await asyncio.wait([running])
    attempts = double.order(ORDER_ID).get("Attempts", 0)
    if not case.blames:
        assert attempts == scenario.attempts, f"{case.name}: {attempts} attempts"


@pytest.fixture(autouse=True)
def _short_visibility_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.wiring, "MIN_VISIBILITY_TIMEOUT_S", 1)


@pytest.fixture(
    params=[
        pytest.param((SAMPLED, QUICK, 0.0, AT_ONCE), id="sample"),
        pytest.param((1, QUICK, 0.0, AT_ONCE), id="short", marks=pytest.mark.exhaustive),
        pytest.param((1, DEFAULT_TIMINGS, 6.0, 200), id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(900)]),
    ]
)
def size(request: pytest.FixtureRequest) -> Size:
    chosen: Size = request.param
    return chosen


@pytest.mark.parametrize("name", SCENARIOS)
async def test_no_answer_of_aws_ends_a_worker_or_costs_an_attempt(name: str, size: Size) -> None:
    scenario, (step, timings, last_s, at_once) = SCENARIOS[name], size
    first = list(SCENARIOS).index(name) % step  # So that the samples of all calls together have every code.
    places = asyncio.Semaphore(at_once)
    wrong: list[str] = []

    async def tried(case: Case) -> None:
        async with places:
            try:
                await survives(scenario, case, timings, last_s)
            except Exception as error:  # noqa: BLE001 - all of them are reported together.
                wrong.append(f"{case.name}: {type(error).__name__}: {error}")

    with structlog.testing.capture_logs():
        await asyncio.gather(*map(tried, itertools.islice(cases_of(scenario), first, None, step)))
    assert wrong == []


@pytest.mark.parametrize("name", ["receive", "delete", "release", "send an escalation", "send a reminder"])
async def test_a_deleted_queue_ends_a_worker(name: str) -> None:
    scenario = SCENARIOS[name]
    double = Double()
    consumer = await consumer_of(scenario, double, Metrics(), QUICK)
    double.operation, double.answer = scenario.operation, refusing("QueueDoesNotExist")
    double.put_order(ORDER_ID)
    double.send("m1", scenario.body)
    with structlog.testing.capture_logs(), pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(TIMEOUT_S):
            await consumer.run(asyncio.Event())
    assert raised.group_contains(FatalError, match="the queue does not exist$")


@pytest.mark.parametrize("operation", ["GetQueueUrl", "GetQueueAttributes", "DescribeTable"])
async def test_a_start_waits_for_whatever_may_pass_by_itself(operation: str) -> None:
    """The complement: what ends a start at once is credentials, a wrong endpoint, and what is missing."""
    ended = set[str]()
    for name, answer in {code: refusing(code) for code in codes()}.items():
        double = Double(operation, answer)
        with structlog.testing.capture_logs():
            starting = asyncio.create_task(consumer_of(SCENARIOS["receive"], double, Metrics(), QUICK))
            while double.hits < 3 and not starting.done():  # noqa: ASYNC110 - a call sets no event.
                await asyncio.sleep(0)
            if starting.done():
                assert isinstance(starting.exception(), FatalError)
                ended.add(name)
                continue
            double.clear()
            async with asyncio.timeout(TIMEOUT_S):
                await starting
    assert ended == {
        *("QueueDoesNotExist", "ResourceNotFoundException"),
        *(
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "IncompleteSignatureException",
        ),
        *("InvalidClientTokenId", "InvalidSecurity", "InvalidSignatureException", "MissingAuthenticationToken"),
        *("MissingAuthenticationTokenException", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch"),
        *("UnrecognizedClientException", "InvalidAction", "UnknownOperationException", "UnsupportedOperation"),
    }


def test_the_table_knows_the_codes_of_every_service() -> None:
    assert len(codes()) > 150
    assert {TOMORROW, "KmsDisabled", "InternalServiceError", "AuthorizationError", "OverLimit"} <= set(codes())
