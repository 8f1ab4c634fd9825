"""
An HTTP proxy between workers and the local AWS that injects faults, by action and rate, from a seed.

    with FaultProxy(local_aws.endpoint, seed=7) as proxy:
        proxy.inject(Rule(Fault.LOST_ANSWER, 0.5, actions={"DeleteMessageBatch"}))
        ...  # workers with AWS_ENDPOINT_URL=proxy.url
        proxy.clear()
        assert proxy.requests_per_second("ReceiveMessage", since_s, until_s) < 5

It runs in a thread with its own event loop, so that tests stay synchronous. Rules and conditions may change at any
time. It records every request, and every message that reached a worker.
"""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeVar, cast

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from tests.chaos.conditions import LOOPBACK, Conditions, OldDelete, draw_old_delete
from tests.chaos.traps import Exchange, Notification, Step, Trap, notification

HOST = "127.0.0.1"
UPSTREAM_TIMEOUT_S = 60.0  # Much longer than any long poll.
UPSTREAM_KEEPALIVE_S = 1.0  # Shorter than the local AWS's: a connection that it closes would be an extra fault.
RECEIVE = "ReceiveMessage"
DELETE = "DeleteMessageBatch"
EXTEND = "ChangeMessageVisibilityBatch"
TRANSACTION = "TransactWriteItems"
BATCH_READ = "BatchGetItem"
NOTIFY = "Notify"  # A POST to the proxy's own webhook; see `FaultProxy.webhook_url`.
_WEBHOOK_PATH = "/webhook/"
_TARGET = "X-Amz-Target"  # The header with the service and the action.
# Headers of one hop, and those that are computed for the body that is sent.
_NOT_FORWARDED = {"connection", "content-length", "keep-alive", "transfer-encoding", "date", "server"}

T = TypeVar("T")


class Fault(StrEnum):
    """The faults that one request can get."""

    ERROR = "error"  # A 5xx response; nothing is applied.
    THROTTLED = "throttled"
    EXPIRED = "expired"  # The credentials are refused; nothing is applied.
    SIGNATURE = "signature"  # The signature is refused; nothing is applied.
    DENIED = "denied"
    TOMORROW = "tomorrow"  # A code that no one knows; nothing is applied.
    RESET = "reset"  # The connection is reset before the request is forwarded.
    LATENCY = "latency"  # The request is applied late, by up to `delay_s`.
    LOST_ANSWER = "lost_answer"  # Applied, then the connection is reset.
    HALF_ANSWER = "half_answer"  # Applied, then the connection is closed in the middle of the answer's body.
    GARBLED = "garbled"  # Applied, then half of the body is sent as a complete answer.
    FAILED_ENTRIES = "failed_entries"  # SQS batches: some entries are not applied and are returned as `Failed`.
    LOST_RECEIPTS = "lost_receipts"  # The same, with the code for an invalid receipt handle.
    DUPLICATED = "duplicated"  # Receives: a message is in the answer twice, and once more in a later one.
    CONFLICT = "conflict"  # Transactions: cancelled, as if others were writing some of the items at that moment.
    UNPROCESSED = "unprocessed"  # Batch reads: some keys are not read, and are returned as `UnprocessedKeys`.


# The actions that these faults can happen to; the others can happen to every action.
_ONLY = {
    Fault.FAILED_ENTRIES: {DELETE, EXTEND},
    Fault.LOST_RECEIPTS: {EXTEND},
    Fault.DUPLICATED: {RECEIVE},
    Fault.CONFLICT: {TRANSACTION},
    Fault.UNPROCESSED: {BATCH_READ},
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Inject *fault* into a share *rate* of the requests with one of these actions (none: every action)."""

    fault: Fault
    rate: float = 1.0
    actions: Collection[str] = ()
    delay_s: float = 0.5

    def applies_to(self, action: str) -> bool:
        return (not self.actions or action in self.actions) and action in _ONLY.get(self.fault, {action})


@dataclass(frozen=True, slots=True)
class Request:
    """One incoming request. `at_s` is in seconds since the epoch; `sender` is its access key id."""

    at_s: float
    action: str
    fault: Fault | None
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message in an answer that reached a worker completely."""

    at_s: float
    message_id: str
    receive_count: int
    body: str
    sender: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def every_kind(rate: float, *, delay_s: float = 0.5) -> tuple[Rule, ...]:
    """Return a rule with this rate for every fault, except refused credentials and access, and lost receipts."""
    refused = {Fault.EXPIRED, Fault.SIGNATURE, Fault.DENIED, Fault.TOMORROW}
    kinds = (fault for fault in Fault if fault not in {*refused, Fault.LOST_RECEIPTS})
    return tuple(Rule(fault, rate, delay_s=delay_s) for fault in kinds)


@dataclass
class FaultProxy:
    """
    See the module. `url` is for a worker's `AWS_ENDPOINT_URL`; it stays the same after an outage.

    With `accepts_old_receipts` a change of visibility with an older receipt has its effect, as on AWS; the local AWS
    refuses it. `changed_with_old_receipts` has the ids of those messages.

    `conditions` hold for every request, beside the faults; those are for some requests, and one for each at most.
    """

    upstream: str
    seed: int
    requests: list[Request] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    late: int = 0  # Delayed requests that are not applied yet; their clients may have given up.
    port: int = 0
    accepts_old_receipts: bool = False
    changed_with_old_receipts: list[str] = field(default_factory=list)
    conditions: Conditions = LOOPBACK
    notifications: list[Notification] = field(default_factory=list)  # Those that the webhook has accepted.
    _rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._deleted: set[str] = set()  # Messages.
        self._repeats: Counter[str] = Counter()  # By message.
        self._polls: dict[str, web.BaseRequest] = {}  # A receive of each sender.
        # By sender: the receipts of its messages that are not deleted, each with the request that gives it up.
        self._held: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._ended: set[str] = set()
        self._traps: list[Trap] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._message_of: dict[str, str] = {}  # By receipt handle.
        self._newest_receipt: dict[str, str] = {}  # By message.
        self._echoes: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)  # By queue.

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._thread.start()
        try:
            self._call(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # For tests.

    def inject(self, *rules: Rule) -> None:
        """Replace the rules by these. If several apply to a request, the first one that is drawn counts."""
        self._rules = rules

    def clear(self) -> None:
        """Inject no more faults."""
        self.inject()

    def webhook_url(self, sender: str) -> str:
        """Return the URL of a webhook that accepts every notification. Rules, conditions and traps apply to it too."""
        return f"{self.url}{_WEBHOOK_PATH}{sender}"

    def set_trap(self, trap: Trap) -> Trap:
        self._traps = [*self._traps, trap]
        return trap

    def open_trap(self, trap: Trap) -> None:
        """Let the requests that *trap* holds go on."""
        self._loop.call_soon_threadsafe(trap.open)

    def end_visibility(self, sender: str) -> None:
        """Make all messages of a killed worker visible, as when their visibility timeouts have run out."""
        self._call(self._end_visibility(sender))

    def go_down(self) -> None:
        """Refuse connections, and reset the open ones."""
        self._call(self._close())

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self._call(self._listen())

    def count(self, *actions: str, since_s: float = 0.0, until_s: float = float("inf")) -> int:
        """Return the number of requests with these actions (none: all) between two times, in epoch seconds."""
        return sum(
            since_s <= request.at_s < until_s and (not actions or request.action in actions)
            for request in list(self.requests)
        )

    def requests_per_second(self, *actions: str, since_s: float, until_s: float) -> float:
        return self.count(*actions, since_s=since_s, until_s=until_s) / (until_s - since_s)

    def faults(self) -> dict[str, int]:
        """Return how often each fault was injected."""
        kinds = [request.fault for request in list(self.requests) if request.fault is not None]
        return {fault.value: kinds.count(fault) for fault in Fault if fault in kinds}

    # The thread and its listener.

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        self._server = web.Server(self._handle, access_log=None)
        self._client = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=UPSTREAM_KEEPALIVE_S),
            timeout=ClientTimeout(total=UPSTREAM_TIMEOUT_S),
            auto_decompress=False,
        )
        await self._listen()

    async def _listen(self) -> None:
        self._listener = await self._loop.create_server(self._server, HOST, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._listener.close()
        for connection in list(self._server.connections):
            if connection.transport is not None:
                _reset(connection.transport)

    async def _stop(self) -> None:
        await self._close()
        await self._server.shutdown(1.0)
        await self._client.close()
        ours = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not ours]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # One request.

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange(_action(request), _sender(request), await request.read())
        fault, delay_s = self._draw(exchange.action)
        self.requests.append(Request(time.time(), exchange.action, fault, exchange.sender))
        traps = self._traps if fault in {None, Fault.LATENCY} else []
        if not await _pass(traps, Step.ARRIVED, exchange):
            return _cut(request.transport)
        try:
            answer = await self._answer(request, exchange.body, fault, delay_s)
        except (ClientError, TimeoutError):  # The local AWS itself has ended.
            answer = None
        exchange.status = None if answer is None else answer.status
        exchange.answered.set()
        if not await _pass(traps, Step.APPLIED, exchange):
            answer = None
        if (latency := self.conditions.latency) is not None:
            await asyncio.sleep(latency.draw_s(exchange.action, self._rng, sqs=_is_sqs(request)))
        transport = request.transport
        if answer is None or fault is Fault.LOST_ANSWER:
            return _cut(transport)
        if fault is Fault.HALF_ANSWER:
            return await _half(request, answer)
        if fault is Fault.GARBLED:
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body[: len(answer.body) // 2])
        if exchange.action == RECEIVE:
            await self._hand_out(request, json.loads(exchange.body)["QueueUrl"], answer)
        response = web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        if traps:
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                await response.write_eof()
            await _pass(traps, Step.ANSWERED, exchange)
        return response

    def _draw(self, action: str) -> tuple[Fault | None, float]:
        for rule in self._rules:
            if rule.applies_to(action) and self._rng.random() < rule.rate:
                return rule.fault, self._rng.uniform(0, rule.delay_s)
        return None, 0.0

    async def _answer(
        self, request: web.BaseRequest, body: bytes, fault: Fault | None, delay_s: float
    ) -> _Answer | None:
        """Return the answer to a request; None if its connection must be reset instead."""
        answer: _Answer | None = None
        match fault:
            case Fault.RESET:
                pass
            case Fault.DUPLICATED:
                answer = await self._receive_with_copies(request, json.loads(body))
            case Fault.FAILED_ENTRIES | Fault.LOST_RECEIPTS:
                answer = await self._forward_some(request, json.loads(body), fault)
            case Fault.UNPROCESSED:
                answer = await self._read_some(request, json.loads(body))
            case Fault.LATENCY:
                self.late += 1
                try:
                    await asyncio.sleep(delay_s)
                    answer = await self._forward(request, body)
                finally:
                    self.late -= 1
            case None | Fault.LOST_ANSWER | Fault.HALF_ANSWER | Fault.GARBLED:
                answer = await self._forward(request, body)
            case _:
                answer = self._refuse(fault, body, sqs=_is_sqs(request))
        return answer

    def _refuse(self, fault: Fault, body: bytes, *, sqs: bool) -> _Answer:
        """Return an error response; nothing is applied."""
        match fault:
            case Fault.ERROR:
                return _error(*self._rng.choice(_SERVER_ERRORS))
            case Fault.THROTTLED:
                return _error(400, self._rng.choice(_SQS_THROTTLED if sqs else _DYNAMODB_THROTTLED))
            case Fault.EXPIRED:
                return _error(403 if sqs else 400, "ExpiredTokenException")
            case Fault.CONFLICT:
                return self._conflict(json.loads(body)["TransactItems"])
            case _:
                return _error(400, _REFUSALS[fault])

    async def _forward(self, request: web.BaseRequest, body: bytes) -> _Answer:
        """Pass the request on, under the conditions, and return the answer of the local AWS."""
        action = _action(request)
        if action == NOTIFY:
            self.notifications.append(notification(Exchange(action, _sender(request), body)))
            return _Answer(200, {}, b"")
        if action == DELETE:
            return await self._delete(request, json.loads(body))
        if action == EXTEND and self.accepts_old_receipts:
            body = self._with_newest_receipts(json.loads(body))
        if action == RECEIVE and self.conditions.short_receives:
            asked = json.loads(body)
            limit = self._rng.randint(1, int(asked.get("MaxNumberOfMessages", 1)))
            body = json.dumps(asked | {"MaxNumberOfMessages": limit}).encode()
        answer = await self._pass_on(request, body)
        if action == RECEIVE:
            for message in _received(answer):
                self._message_of[message["ReceiptHandle"]] = message["MessageId"]
                self._newest_receipt[message["MessageId"]] = message["ReceiptHandle"]
        return answer

    async def _pass_on(self, request: web.BaseRequest, body: bytes, action: str | None = None) -> _Answer:
        """Send this body to the local AWS; another *action* of the same service if one is given."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED}
        if action is not None:
            headers[_TARGET] = f"{request.headers[_TARGET].rpartition('.')[0]}.{action}"
        url = self.upstream + request.path_qs
        async with self._client.request(request.method, url, headers=headers, data=body) as upstream:
            return _Answer(
                upstream.status,
                {name: value for name, value in upstream.headers.items() if name.lower() not in _NOT_FORWARDED},
                await upstream.read(),
            )

    def _with_newest_receipts(self, asked: dict[str, Any]) -> bytes:
        for entry in asked["Entries"]:
            message_id = self._message_of.get(entry["ReceiptHandle"], "")
            newest = self._newest_receipt.get(message_id, entry["ReceiptHandle"])
            if newest != entry["ReceiptHandle"]:
                self.changed_with_old_receipts.append(message_id)
                entry["ReceiptHandle"] = newest
        return json.dumps(asked).encode()

    async def _delete(self, request: web.BaseRequest, asked: dict[str, Any]) -> _Answer:
        """
        Delete; let a second delete of a message succeed, as SQS does. The local AWS reports an invalid receipt instead.

        Older receipts: see `Conditions.old_deletes`.
        """
        messages = {
            entry["Id"]: self._message_of.get(handle := entry["ReceiptHandle"], handle) for entry in asked["Entries"]
        }
        entries, accepted = list[dict[str, Any]](), list[dict[str, Any]]()
        for entry in asked["Entries"]:
            newest = self._newest_receipt.get(messages[entry["Id"]], entry["ReceiptHandle"])
            old = self.conditions.old_deletes and entry["ReceiptHandle"] != newest
            fate = draw_old_delete(self._rng) if old else OldDelete.REFUSED
            if fate is OldDelete.IGNORED:
                accepted.append({"Id": entry["Id"]})
            else:
                entries.append(entry | {"ReceiptHandle": newest} if fate is OldDelete.WORKS else entry)
        if not entries:
            return _document(accepted, [])
        answer = await self._pass_on(request, json.dumps(asked | {"Entries": entries}).encode())
        if answer.status != web.HTTPOk.status_code:
            return answer
        document = json.loads(answer.body)
        failed = document.get("Failed", [])
        again = [entry for entry in failed if messages[entry["Id"]] in self._deleted]
        successful = document.get("Successful", []) + [{"Id": entry["Id"]} for entry in again]
        self._deleted.update(messages[entry["Id"]] for entry in successful)
        for entry in asked["Entries"]:
            if messages[entry["Id"]] in self._deleted:
                self._held[_sender(request)].pop(entry["ReceiptHandle"], None)
        return _document(successful + accepted, [entry for entry in failed if entry not in again])

    async def _forward_some(self, request: web.BaseRequest, asked: dict[str, Any], fault: Fault) -> _Answer:
        """Refuse at least one entry of a batch, and forward the others."""
        entries = asked["Entries"]
        unlucky = self._rng.choice(entries)["Id"]
        refused = [entry["Id"] for entry in entries if entry["Id"] == unlucky or self._rng.random() < 0.5]
        lost = fault is Fault.LOST_RECEIPTS
        code = "ReceiptHandleIsInvalid" if lost else "InternalError"
        failed = [{"Id": entry_id, "Code": code, "Message": "Injected.", "SenderFault": lost} for entry_id in refused]
        kept = [entry for entry in entries if entry["Id"] not in refused]
        if not kept:
            return _document([], failed)
        answer = await self._forward(request, json.dumps(asked | {"Entries": kept}).encode())
        if answer.status != web.HTTPOk.status_code:
            return answer
        document = json.loads(answer.body)
        return _document(document.get("Successful", []), document.get("Failed", []) + failed)

    def _conflict(self, items: list[Any]) -> _Answer:
        """Cancel a transaction because of at least one of its items."""
        unlucky = self._rng.randrange(len(items))
        codes = [
            "TransactionConflict" if at == unlucky or self._rng.random() < 0.1 else "None" for at in range(len(items))
        ]
        return _error(400, "TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])

    async def _read_some(self, request: web.BaseRequest, asked: dict[str, Any]) -> _Answer:
        """Read at least one key of a batch, and leave at least one other unprocessed. A single key is throttled."""
        tables: dict[str, dict[str, Any]] = asked["RequestItems"]
        keys = [(name, key) for name, table in tables.items() for key in table["Keys"]]
        if len(keys) == 1:
            return _error(400, self._rng.choice(_DYNAMODB_THROTTLED))
        self._rng.shuffle(keys)
        unread = keys[: self._rng.randint(1, len(keys) - 1)]

        def some(wanted: Callable[[Any], bool]) -> dict[str, Any]:
            kept = {name: [key for key in table["Keys"] if wanted((name, key))] for name, table in tables.items()}
            return {name: tables[name] | {"Keys": found} for name, found in kept.items() if found}

        wanted = asked | {"RequestItems": some(lambda key: key not in unread)}
        answer = await self._forward(request, json.dumps(wanted).encode())
        if answer.status != web.HTTPOk.status_code:
            return answer
        document = json.loads(answer.body)
        document["Responses"] = {name: [] for name in tables} | document["Responses"]
        document["UnprocessedKeys"] = some(lambda key: key in unread)
        return _Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(document).encode())

    async def _receive_with_copies(self, request: web.BaseRequest, asked: dict[str, Any]) -> _Answer:
        """Receive one message less than asked for, and add a copy of one of them or of an earlier one."""
        limit = int(asked.get("MaxNumberOfMessages", 1))
        echoes = self._echoes[asked["QueueUrl"]]
        if limit == 1 and echoes:
            return _messages([echoes.pop()])
        answer = await self._forward(request, json.dumps(asked | {"MaxNumberOfMessages": max(1, limit - 1)}).encode())
        if answer.status != web.HTTPOk.status_code:
            return answer
        messages = json.loads(answer.body).get("Messages", [])
        if not messages:
            return answer
        copies = [echoes.pop()] if echoes and self._rng.random() < 0.5 else [messages[0]]
        echoes.append(messages[-1])
        return _messages(messages + copies[: limit - len(messages)])

    async def _hand_out(self, request: web.BaseRequest, queue_url: str, answer: _Answer) -> None:
        """Record received messages, unless the worker has ended; make some of them visible again."""
        sender = _sender(request)
        self._polls[sender] = request
        self._held[sender] |= {
            message["ReceiptHandle"]: _visible_again(queue_url, message) for message in _received(answer)
        }
        if sender in self._ended:
            await self._end_visibility(sender)
        elif request.transport is not None and not request.transport.is_closing():
            for message in _received(answer):
                count = int(message["Attributes"]["ApproximateReceiveCount"])
                self.deliveries.append(Delivery(time.time(), message["MessageId"], count, message["Body"], sender))
            self._repeat_some(request, queue_url, answer)

    def _repeat_some(self, request: web.BaseRequest, queue_url: str, answer: _Answer) -> None:
        """Make some of the received messages visible again soon: see `Conditions.repeated`."""
        for message in _received(answer):
            message_id = message["MessageId"]
            if (
                self._repeats[message_id] < self.conditions.max_repeats
                and self._rng.random() < self.conditions.repeated
            ):
                self._repeats[message_id] += 1
                task = self._loop.create_task(self._repeat(request, _visible_again(queue_url, message)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _repeat(self, request: web.BaseRequest, asked: dict[str, Any]) -> None:
        await asyncio.sleep(self._rng.uniform(0, self.conditions.repeated_within_s))
        await self._make_visible(request, asked)

    async def _end_visibility(self, sender: str) -> None:
        self._ended.add(sender)
        for asked in self._held.pop(sender, {}).values():
            await self._make_visible(self._polls[sender], asked)

    async def _make_visible(self, request: web.BaseRequest, asked: dict[str, Any]) -> None:
        """Make a message visible, unless it was deleted or received again: then its receipt is refused."""
        with contextlib.suppress(ClientError, TimeoutError):
            await self._pass_on(request, json.dumps(asked).encode(), "ChangeMessageVisibility")


async def _pass(traps: Iterable[Trap], step: Step, exchange: Exchange) -> bool:
    """Return whether *exchange* may go on after all traps."""
    return all([await trap.spring(step, exchange) for trap in traps])


def _visible_again(queue_url: str, message: dict[str, Any]) -> dict[str, Any]:
    return {"QueueUrl": queue_url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}


def _action(request: web.BaseRequest) -> str:
    if request.path.startswith(_WEBHOOK_PATH):
        return NOTIFY
    return request.headers.get(_TARGET, "").rpartition(".")[2]


def _is_sqs(request: web.BaseRequest) -> bool:
    return request.headers.get(_TARGET, "").startswith("AmazonSQS")


def _sender(request: web.BaseRequest) -> str:
    """Return the access key id, which differs between the workers of a scenario. A webhook's URL ends in it."""
    if request.path.startswith(_WEBHOOK_PATH):
        return request.path.removeprefix(_WEBHOOK_PATH)
    return request.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]


def _received(answer: _Answer) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if answer.status == web.HTTPOk.status_code:
        messages = json.loads(answer.body).get("Messages", [])
    return messages


_REFUSALS = {
    Fault.SIGNATURE: "InvalidSignatureException",
    Fault.DENIED: "AccessDeniedException",
    Fault.TOMORROW: "CodeOfTomorrow",
}
_SERVER_ERRORS = ((500, "InternalError"), (500, "InternalServerError"), (503, "ServiceUnavailable"))
_SQS_THROTTLED = ("RequestThrottled", "ThrottlingException")
_DYNAMODB_THROTTLED = ("ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded")


def _error(status: int, code: str, **fields: Any) -> _Answer:
    fault = "Sender" if status < web.HTTPInternalServerError.status_code else "Receiver"
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-query-error": f"{code};{fault}"}
    body = {"__type": f"com.amazonaws.injected#{code}", "message": "Injected.", **fields}
    return _Answer(status, headers, json.dumps(body).encode())


def _document(successful: Iterable[Any], failed: Iterable[Any]) -> _Answer:
    body = {"Successful": list(successful), "Failed": list(failed)}
    return _Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode())


def _messages(messages: list[dict[str, Any]]) -> _Answer:
    return _Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps({"Messages": messages}).encode())


def _cut(transport: asyncio.Transport | None) -> web.Response:
    if transport is not None:
        _reset(transport)
    return web.Response()  # Never sent: the connection is closed.


async def _half(request: web.BaseRequest, answer: _Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body) + 1  # So at least one byte is missing, even with an empty body.
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()  # Unlike a reset, this sends what was written.
    return response


def _reset(transport: asyncio.BaseTransport) -> None:
    """Reset the connection instead of closing it in an orderly way."""
    peer = transport.get_extra_info("socket")
    if peer is not None and not transport.is_closing():
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    abort = cast("Callable[[], None]", getattr(transport, "abort", transport.close))
    abort()
