"""The stack that an operator works on: the names of its resources, and clients for AWS."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from workers.domain.ids import execution_arn
from workers.operations.errors import OperationError
from workers.operations.names import Names
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from workers.aws.sdk.blocking import AsyncClient, BlockingSession


@dataclass(frozen=True, slots=True)
class Queue:
    """
    A queue, and the dead-letter queue that its RedrivePolicy names.

    `account` is the one that its address names, None for the caller's. `worker` says which of our workers consumes it,
    `fulfillment` or `escalation`; None if it is another queue, with messages of another kind.
    """

    name: str
    url: str
    attributes: Mapping[str, str]
    dead_letter_queue: str
    dead_letter_url: str
    account: str | None = None
    worker: str | None = None


class Stack:
    """
    Reads names and makes clients when they are first used.

    So `--help` and commands that do not use AWS work without an environment, and without waiting for the SDK's import.
    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        session: "BlockingSession | None" = None,
    ) -> None:
        """Use *environ* to name the resources, and *session* to make clients (by default, one made from *environ*)."""
        self._environ = environ
        self._given_session = session
        self._state_machine_arn: str | None = None
        self.now = now

    @cached_property
    def names(self) -> Names:
        return Names.read(self._environ)

    @cached_property
    def _session(self) -> "BlockingSession":
        from workers.aws.sdk.blocking import BlockingSession  # noqa: PLC0415 - see above.

        return self._given_session or BlockingSession(self._environ)

    @property
    def dynamodb(self) -> "AsyncClient":
        return self._session.client("dynamodb")

    @property
    def sqs(self) -> "AsyncClient":
        return self._session.client("sqs")

    @property
    def stepfunctions(self) -> "AsyncClient":
        return self._session.client("stepfunctions")

    @property
    def logs(self) -> "AsyncClient":
        return self._session.client("logs")

    @property
    def s3(self) -> "AsyncClient":
        return self._session.client("s3")

    @property
    def ecs(self) -> "AsyncClient":
        return self._session.client("ecs")

    @property
    def cloudwatch(self) -> "AsyncClient":
        """A client with short timeouts and a single attempt: ages are optional."""
        return self._session.client(
            "cloudwatch", connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}
        )

    async def region(self) -> str:
        return await self._session.region()

    async def account(self) -> str:
        """Return the account of the credentials."""
        return (await self._identity())[1]

    async def endpoints(self) -> list[str]:
        """Return the URLs of the services that commands change."""
        return [await client.endpoint() for client in (self.dynamodb, self.sqs, self.stepfunctions, self.s3)]

    async def state_machine_arn(self) -> str:
        """Return the ARN of the order workflow. If only its name is known, use the account of the credentials."""
        if self._state_machine_arn is None:
            self._state_machine_arn = await self._find_state_machine(self.names.state_machine)
        return self._state_machine_arn

    async def _find_state_machine(self, name: str) -> str:
        if name.startswith("arn:"):
            return name
        partition, account = await self._identity()
        return f"arn:{partition}:states:{await self.region()}:{account}:stateMachine:{name}"

    async def _identity(self) -> tuple[str, str]:
        """Return the partition and the account of the credentials."""
        identity: str = (await self._session.client("sts").call("get_caller_identity"))["Arn"]
        _, partition, _, _, account, *_ = identity.split(":")
        return partition, account

    async def owns(self, queue: Queue) -> bool:
        """Return whether *queue* is in the account of the credentials. CloudWatch has the metrics of no other."""
        return queue.account is None or queue.account == await self.account()

    async def execution_arn(self, name: str) -> str:
        """Return the ARN that the workflow's execution *name* has or would have."""
        return execution_arn(await self.state_machine_arn(), name)

    async def queue(self, name: str) -> Queue:
        """
        Look up a queue and its dead-letter queue. *name* may be a URL or an ARN, too, or that of its dead-letter queue.

        Raises:
            OperationError: One of them does not exist, or cannot be used.
        """
        worker = self._worker_of(QueueAddress.parse(name))
        ours = "deploy the stack, or correct the variable that names it"
        queue, url = await self.find_queue(
            name, ours if worker else "must be fulfillment, escalation, or an existing queue"
        )
        attributes = await self.attributes(url)
        if "RedrivePolicy" not in attributes:
            return await self.queue(await self._source_of(queue, url, attributes))
        arn: str = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
        if arn.endswith(".fifo"):
            raise OperationError(f"queue {queue} has the dead-letter queue {arn}, must be a standard queue")
        dead_letters = queue.dead_letter_queue(arn)
        dead_letter_url = await self._queue_url(dead_letters, f"the RedrivePolicy of {queue} names it")
        return Queue(queue.name, url, attributes, dead_letters.name, dead_letter_url, queue.account, worker)

    def _worker_of(self, queue: QueueAddress) -> str | None:
        """Return which of our workers consumes *queue*, None if none does."""
        for worker, given in self.names.queues.items():
            known = QueueAddress.parse(given)
            if known.name == queue.name and (queue.account or known.account) == (known.account or queue.account):
                return worker
        return None

    async def _source_of(self, dead_letters: QueueAddress, url: str, attributes: Mapping[str, str]) -> str:
        """Return the ARN or URL of the only queue that has this dead-letter queue."""
        allowed: list[str] = json.loads(attributes.get("RedriveAllowPolicy", "{}")).get("sourceQueueArns", [])
        sources = allowed or await self._sources(url, attributes)
        if not sources:
            raise OperationError(f"queue {dead_letters} has no dead-letter queue (RedrivePolicy)")
        if len(sources) > 1:
            names = ", ".join(sorted(QueueAddress.parse(source).name for source in sources))
            raise OperationError(
                f"{dead_letters} is the dead-letter queue of several queues, name one of them: {names}"
            )
        (source,) = sources
        return source

    async def _sources(self, dead_letter_url: str, attributes: Mapping[str, str]) -> list[str]:
        """Return the URLs of the queues that have this dead-letter queue, which has *attributes*."""
        from workers.operations.sdk_errors import ClientError, is_unknown_call  # noqa: PLC0415 - see above.

        try:
            answer = await self.sqs.call("list_dead_letter_source_queues", QueueUrl=dead_letter_url)
        except ClientError as error:
            if is_unknown_call(error):  # The local AWS.
                return await self._sources_among_all(attributes.get("QueueArn"))
            raise
        return list(answer.get("queueUrls") or [])

    async def _sources_among_all(self, dead_letter_arn: str | None) -> list[str]:
        """Return the same by a look at each queue: at 1,000, which is what one answer holds."""
        from workers.operations.sdk_errors import ClientError, is_missing  # noqa: PLC0415 - see above.

        sources = []
        for url in (await self.sqs.call("list_queues")).get("QueueUrls") or []:
            try:
                policy = (await self.attributes(url)).get("RedrivePolicy", "{}")
            except ClientError as error:
                if is_missing(error):  # It was deleted meanwhile.
                    continue
                raise
            if dead_letter_arn is not None and json.loads(policy).get("deadLetterTargetArn") == dead_letter_arn:
                sources.append(url)
        return sources

    async def find_queue(self, name: str, hint: str) -> tuple[QueueAddress, str]:
        """
        Look up the URL of a queue. *name* may also be its URL or its ARN.

        Raises:
            OperationError: It does not exist; *hint* says what to do.
        """
        queue = QueueAddress.parse(name)
        if queue.region is not None and (problem := queue.wrong_region(await self.region())):
            raise OperationError(problem)
        return queue, await self._queue_url(queue, hint)

    async def attributes(self, queue_url: str) -> dict[str, str]:
        """Return all attributes of a queue, including its approximate numbers of messages."""
        answer = await self.sqs.call("get_queue_attributes", QueueUrl=queue_url, AttributeNames=["All"])
        return dict(answer["Attributes"])

    async def _queue_url(self, queue: QueueAddress, hint: str) -> str:
        from workers.operations.sdk_errors import ClientError, is_missing  # noqa: PLC0415 - see above.

        try:
            answer = await self.sqs.call("get_queue_url", **queue.lookup())
        except ClientError as error:
            if is_missing(error):
                raise OperationError(f"{queue.missing()}: {hint}") from None
            raise
        return str(answer["QueueUrl"])

    async def missing_table(self) -> str:
        """Return a line that says which table does not exist: DynamoDB's own error does not name it."""
        from workers.operations.sdk_errors import SDK_ERRORS, is_missing  # noqa: PLC0415 - see above.

        for name, variable in (
            (self.names.order_table, "ORDER_TABLE"),
            (self.names.escalation_table, "ESCALATION_TABLE"),
        ):
            try:
                await self.dynamodb.call("describe_table", TableName=name)
            except SDK_ERRORS as error:
                if not is_missing(error):
                    break
                return f"there is no table {name}: deploy the stack, or correct {variable}"
        return f"there is no table {self.names.order_table} or no table {self.names.escalation_table}"
