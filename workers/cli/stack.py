"""The stack that an operator works on: the names of its resources, and clients for its AWS made on demand."""

import functools
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from workers.cli.output import CliError
from workers.operations.text import clean

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

DEFAULT_STATE_MACHINE = "OrderFulfillmentStateMachine"
MAX_CONNECTIONS = 100  # As many as any command may use at once.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, MAX_TRIES = 5, 20, 4

_OK = 200
_JSON_SERVICES = ("dynamodb", "sqs", "sfn")
_SETTINGS = ("ORDER_TABLE", "ESCALATION_TABLE", "ORDER_FULFILLMENT_QUEUE", "ESCALATION_QUEUE")
_STATE_MACHINE = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_STATE_MACHINE_ARN = re.compile(
    r"arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{12}:stateMachine:[A-Za-z0-9_-]{1,80}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Names:
    """What the resources are called; the tables and queues as for the workers. `state_machine` may be an ARN."""

    order_table: str
    escalation_table: str
    order_fulfillment_queue: str
    escalation_queue: str
    state_machine: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """
        Read the names from *environ*.

        Raises:
            FatalError: A name of a table or queue is wrong.
            CliError: That of the state machine is.
        """
        from workers.settings import Settings  # noqa: PLC0415 - takes a quarter of a second that not all commands need.

        # Only these: a worker's other settings may be wrong, or not there, where an operator works.
        settings = Settings.read({name: environ[name] for name in _SETTINGS if name in environ})
        state_machine = environ.get("STATE_MACHINE", "").strip() or DEFAULT_STATE_MACHINE
        if not (_STATE_MACHINE.fullmatch(state_machine) or _STATE_MACHINE_ARN.fullmatch(state_machine)):
            raise CliError(f"STATE_MACHINE is {clean(state_machine)!r}, must be the name or the ARN of a state machine")
        return cls(
            order_table=settings.order_table,
            escalation_table=settings.escalation_table,
            order_fulfillment_queue=settings.order_fulfillment_queue,
            escalation_queue=settings.escalation_queue,
            state_machine=state_machine,
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the stack and the dead-letter queue behind it, which its RedrivePolicy names."""

    name: str
    url: str
    attributes: Mapping[str, str]
    dead_letter_queue: str
    dead_letter_url: str


class Stack:
    """
    Names are read and clients made when they are first asked for.

    So `--help`, and commands that need no AWS, neither need an environment nor wait for the SDK's import.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self.now = now

    @functools.cached_property
    def names(self) -> Names:
        return Names.read(self._environ)

    @functools.cached_property
    def _session(self) -> "boto3.session.Session":
        import boto3  # noqa: PLC0415 - see above.
        from botocore.exceptions import NoRegionError  # noqa: PLC0415

        # AWS_REGION comes first, as in every other SDK: Python's knows only AWS_DEFAULT_REGION.
        session = boto3.session.Session(region_name=self._environ.get("AWS_REGION") or None)
        if not session.region_name:
            raise NoRegionError
        for service in _JSON_SERVICES:
            session.events.register(f"before-parse.{service}", _check_json)
        return session

    @property
    def region(self) -> str:
        region: str = self._session.region_name
        return region

    def client(self, service: str, **config: Any) -> Any:
        """Return the client of *service*, the same one every time; *config* counts where it is made."""
        from botocore.config import Config  # noqa: PLC0415 - see above.

        settings: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "max_pool_connections": MAX_CONNECTIONS,
            "retries": {"mode": "standard", "total_max_attempts": MAX_TRIES},
        }
        with self._lock:  # A session is not for several threads at once; its clients are.
            if service not in self._clients:
                try:
                    self._clients[service] = self._session.client(  # type: ignore[call-overload]
                        service, config=Config(**settings | config)
                    )
                except ValueError as error:  # No URL, in AWS_ENDPOINT_URL or in the profile.
                    raise CliError(f"the AWS SDK cannot make calls: {clean(str(error))}") from error
            return self._clients[service]

    @property
    def dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self.client("dynamodb")
        return client

    @property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self.client("sqs")
        return client

    @property
    def stepfunctions(self) -> "SFNClient":
        client: SFNClient = self.client("stepfunctions")
        return client

    @property
    def cloudwatch(self) -> "CloudWatchClient":
        """A client without patience: what it knows is nice to have."""
        client: CloudWatchClient = self.client(
            "cloudwatch", connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}
        )
        return client

    @functools.cached_property
    def state_machine_arn(self) -> str:
        """The ARN of the order workflow. A name is taken for one in the account of the credentials."""
        name = self.names.state_machine
        if name.startswith("arn:"):
            return name
        identity: str = self.client("sts").get_caller_identity()["Arn"]
        _, partition, _, _, account, *_ = identity.split(":")
        return f"arn:{partition}:states:{self.region}:{account}:stateMachine:{name}"

    def execution_arn(self, name: str) -> str:
        """Return the ARN that the workflow's execution *name* has or would have."""
        return f"{self.state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"

    def queue(self, name: str) -> Queue:
        """
        Look a queue up, and the dead-letter queue behind it.

        Raises:
            CliError: One of them does not exist.
        """
        url = self._queue_url(name, "deploy the stack, or correct the variable that names it")
        attributes = self.attributes(url)
        if "RedrivePolicy" not in attributes:
            raise CliError(f"queue {name} has no dead-letter queue (RedrivePolicy)")
        arn: str = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
        dead_letters = arn.rpartition(":")[2]
        dead_letter_url = self._queue_url(dead_letters, f"the RedrivePolicy of {name} names it")
        return Queue(name, url, attributes, dead_letters, dead_letter_url)

    def attributes(self, queue_url: str) -> dict[str, str]:
        """Return all attributes of a queue, its approximate numbers of messages among them."""
        answer = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])
        return {str(name): value for name, value in answer["Attributes"].items()}

    def _queue_url(self, name: str, hint: str) -> str:
        try:
            return self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except self.sqs.exceptions.QueueDoesNotExist:
            raise CliError(f"there is no queue {name}: {hint}") from None

    def missing_table(self) -> str:
        """Say which table is not there. DynamoDB's own error names none."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above.

        for name, variable in (
            (self.names.order_table, "ORDER_TABLE"),
            (self.names.escalation_table, "ESCALATION_TABLE"),
        ):
            try:
                self.dynamodb.describe_table(TableName=name)
            except self.dynamodb.exceptions.ResourceNotFoundException:
                return f"there is no table {name}: deploy the stack, or correct {variable}"
            except (BotoCoreError, ClientError):
                break
        return f"there is no table {self.names.order_table} or no table {self.names.escalation_table}"


def _check_json(response_dict: Mapping[str, Any], **_: object) -> None:
    """
    Look at an answer before the SDK's parser does: that takes what is no JSON for one that says nothing.

    Nothing would be: no such order, say.

    Raises:
        ResponseParserError: It is no JSON.
    """
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - see above.

    if response_dict["status_code"] == _OK and response_dict["body"]:
        try:
            json.loads(response_dict["body"])
        except ValueError:
            raise ResponseParserError("an answer that is no JSON") from None


def pass_old_stack(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* a blocking stack: for commands that do not use `workers.operations` yet."""

    @functools.wraps(command)
    def call(*arguments: Any, **options: Any) -> Any:
        from workers.cli.errors import SDK_ERRORS, explained  # noqa: PLC0415
        from workers.errors import WorkerError  # noqa: PLC0415

        stack = Stack()
        try:
            return command(stack, *arguments, **options)
        except (*SDK_ERRORS, WorkerError) as error:
            origin = error.__cause__ if isinstance(error, WorkerError) else error
            if isinstance(origin, SDK_ERRORS):
                raise CliError(explained(origin, stack)) from error
            raise

    return call
