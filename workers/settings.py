"""
The workers' settings: read from the environment once, and checked, at the start.

A field's `description` is the range that an error names: "WORKER_WAIT_S is '21', must be 0 to 20 seconds". The comments
on the fields say what the settings are for, and why they have these defaults.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
)

from workers.domain.cards import looks_like_card, mask
from workers.domain.retention import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS
from workers.errors import FatalError
from workers.http_values import is_endpoint, is_token
from workers.kinds import AnyWorker, OwnWorker, Worker
from workers.queue_address import QUEUE, QueueAddress, check_queue

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$", description="a name, not a URL or an ARN")]


_Queue = Annotated[str, AfterValidator(check_queue)]


_PREFIX = "WORKER_"
_SHARED = (_PREFIX, "LOG_")  # What the settings begin with that concern every worker.
# No settings: they say where the workers of `make run` and the queues are.
_OF_MAKE_ENV = {
    "WORKER_HEALTH_URLS",
    "ORDER_FULFILLMENT_QUEUE_URL",
    "ORDER_FULFILLMENT_DLQ_URL",
    "ESCALATION_QUEUE_URL",
    "ESCALATION_DLQ_URL",
    "ORDER_INTAKE_BUCKET",
}
_SIMILAR, _NEARLY_EQUAL = 0.6, 0.85  # Of two names, by `difflib`; 1 is equal.


def _check_provider_url(text: str) -> str:
    if not is_endpoint(text):
        raise ValueError("not an allowed URL")
    return text


def _check_token(token: SecretStr) -> SecretStr:
    if not is_token(token.get_secret_value()):
        raise ValueError("not an allowed token")
    return token


def _check_release(release: str) -> str:
    if looks_like_card(release):  # It would be masked in the log lines, where the alarms look for it.
        raise ValueError("looks like a card number")
    return release


def _without_query(url: str) -> str:
    return re.sub(r"[?#].*", "?...", url, flags=re.DOTALL)


class Settings(BaseModel):
    """Every setting, with the environment variable it comes from. An empty variable counts as absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    # The stack's tables and queues.
    order_table: _Name = Field("OrderTable", alias="ORDER_TABLE")
    escalation_table: _Name = Field("EscalationTable", alias="ESCALATION_TABLE")
    order_fulfillment_queue: _Queue = Field("OrderFulfillmentQueue", alias="ORDER_FULFILLMENT_QUEUE", description=QUEUE)
    escalation_queue: _Queue = Field("EscalationQueue", alias="ESCALATION_QUEUE", description=QUEUE)
    # How long orders are kept after they became final, and cases after they were resolved. Absent: for ever.
    order_retention_days: int | None = Field(
        None,
        alias="ORDER_RETENTION_DAYS",
        ge=MIN_RETENTION_DAYS,
        le=MAX_RETENTION_DAYS,
        description=f"{MIN_RETENTION_DAYS} to {MAX_RETENTION_DAYS} days",
    )
    # Who ships orders. `record` sends nothing and only gives an order a shipment id; `http` sends to FULFILLMENT_URL.
    fulfillment_provider: str = Field(
        "record",
        alias="FULFILLMENT_PROVIDER",
        pattern=r"^(record|http|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$",
        description="record, http, or a class of your own as package.module:Class",
    )
    # Where `http` sends orders. The URL's query may hold a key, so the query is never shown.
    fulfillment_url: Annotated[str, AfterValidator(_check_provider_url), PlainSerializer(_without_query)] | None = (
        Field(
            None,
            alias="FULFILLMENT_URL",
            max_length=2048,
            repr=False,
            description="an https URL (http for localhost only) without user, password and fragment",
        )
    )
    # How long a request to the provider may take. After that it is sent again later, with the same idempotency key.
    fulfillment_timeout_s: float = Field(
        10, alias="FULFILLMENT_TIMEOUT_S", ge=0.1, le=300, description="0.1 to 300 seconds"
    )
    # How many orders a worker begins a second, evenly spread, for a provider that allows no more. Absent: any number.
    fulfillment_rate: float | None = Field(
        None, alias="FULFILLMENT_RATE", ge=0.001, le=10_000, description="0.001 to 10000 orders a second"
    )
    # The provider's bearer token, or the name of the secret that holds it. A token in a secret may be rotated.
    fulfillment_token: Annotated[SecretStr, AfterValidator(_check_token)] | None = Field(
        None, alias="FULFILLMENT_TOKEN", description="1 to 4096 visible ASCII characters"
    )
    fulfillment_token_secret: str | None = Field(
        None,
        alias="FULFILLMENT_TOKEN_SECRET",
        pattern=r"^[A-Za-z0-9/_+=.@:!-]{1,2048}$",
        description="the name or the ARN of a secret in AWS Secrets Manager",
    )
    # Severity and channels of escalations. Absent: the rules in workers/escalation/rules/escalation-rules.toml.
    escalation_rules: Path | None = Field(
        None, alias="ESCALATION_RULES", description="the path of a TOML file with escalation rules"
    )
    # Messages handled at a time. Each waits for DynamoDB: 150 keep one core busy, even if a write takes 30 ms.
    concurrency: int = Field(150, alias="WORKER_CONCURRENCY", ge=1, le=1000, description="1 to 1000 messages at a time")
    # How many receives run at once under backlog. SQS often returns only a few messages, so many receives are needed to
    # keep the handlers busy: about 15 if each takes 30 ms and brings 5, for 2,400 messages a second.
    max_polls: int = Field(24, alias="WORKER_MAX_POLLS", ge=1, le=100, description="1 to 100 receives at a time")
    # How long a receive waits for messages. With 20 s, SQS's maximum, an idle queue takes three requests a minute.
    wait_s: int = Field(20, alias="WORKER_WAIT_S", ge=0, le=20, description="0 to 20 seconds")
    # How long running handlers may take to finish after a signal. Longer than a long poll, shorter than the 30 s that
    # container platforms grant between SIGTERM and SIGKILL.
    drain_s: float = Field(25, alias="WORKER_DRAIN_S", ge=0, le=600, description="0 to 600 seconds")
    # How long one message may be handled. Far above what an order takes; long enough for a provider to restart. SQS
    # itself ends a receipt after 12 h.
    max_handle_s: float = Field(
        900, alias="WORKER_MAX_HANDLE_S", ge=1, le=11 * 3600, description="1 to 39600 seconds (11 hours)"
    )
    # After how many failed attempts an order is escalated. Backoff doubles from 2 s: five attempts take about half a
    # minute, and a sixth would rarely change the result.
    max_attempts: int = Field(5, alias="WORKER_MAX_ATTEMPTS", ge=1, le=1000, description="1 to 1000 failed attempts")
    # After how many deliveries a message is handled alone, because it may be the one that crashes workers. Twice
    # WORKER_MAX_ATTEMPTS: deploys and crashes also cause deliveries, but say nothing about the order.
    max_deliveries: int = Field(10, alias="WORKER_MAX_DELIVERIES", ge=1, le=995, description="1 to 995 deliveries")
    # Where /healthz, /readyz and /metrics are served. Absent: nowhere.
    health_port: int | None = Field(None, alias="WORKER_HEALTH_PORT", ge=1, le=65535, description="1 to 65535")
    # Loopback: the endpoint has no password. The image sets 0.0.0.0, because a container's checks come from outside.
    health_host: str = Field(
        "127.0.0.1",
        alias="WORKER_HEALTH_HOST",
        pattern=r"^[A-Za-z0-9.:_-]{1,253}$",
        description="an IP address or a host name, such as 127.0.0.1",
    )
    # Whether a task on ECS asks not to be stopped while a handler takes long. That also delays deployments. It is off
    # because a stop is harmless even without it.
    task_protection: bool = Field(False, alias="WORKER_TASK_PROTECTION", description="true or false")
    # The running release. It is on every log line, to tell old and new tasks apart during a deployment.
    release: Annotated[str, AfterValidator(_check_release)] | None = Field(
        None,
        alias="WORKER_RELEASE",
        pattern=r"^[A-Za-z0-9._]{1,64}$",
        description="1 to 64 letters, digits, dots and underscores, not 13 digits in a row",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR"
    )
    # Absent: console on a terminal, json elsewhere.
    log_format: Literal["json", "console"] | None = Field(None, alias="LOG_FORMAT", description="json or console")

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """
        Read the settings from *environ*.

        Raises:
            FatalError: A value is wrong. The text names the variable, the value and the range, for each wrong value.
        """
        names = {field.alias: name for name, field in cls.model_fields.items() if field.alias}
        given = {name: environ[name].strip() for name in names if environ.get(name, "").strip()}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            wrong = dict.fromkeys(str(details["loc"][0]) for details in error.errors())
            raise FatalError(
                "; ".join(
                    f"{name} is {_shown(name, given[name])}, must be {cls.model_fields[names[name]].description}"
                    for name in wrong
                )
            ) from None
        if problems := settings.contradictions():
            raise FatalError("; ".join(problems))
        return settings

    @classmethod
    def read_shared(cls, environ: Mapping[str, str]) -> Self:
        """
        Read only the settings that concern every worker, for a worker of your own.

        Raises:
            FatalError: A value is wrong, or there cannot be as many attempts: each of them is a delivery.
        """
        settings = cls.read({name: value for name, value in environ.items() if name.startswith(_SHARED)})
        if settings.max_attempts > settings.max_deliveries:
            raise FatalError(
                f"WORKER_MAX_ATTEMPTS is {settings.max_attempts}, must be at most WORKER_MAX_DELIVERIES, "
                f"{settings.max_deliveries}: each attempt is a delivery"
            )
        return settings

    def shown(self, worker: AnyWorker) -> dict[str, Any]:
        """Return the settings that concern *worker* and are not absent, as the log may show them."""
        fields = type(self).model_fields.items()
        own = {name for name, field in fields if (field.alias or "").startswith(_SHARED)}
        return self.model_dump(exclude_none=True, include=own if isinstance(worker, OwnWorker) else None)

    def queue_of(self, worker: AnyWorker) -> QueueAddress:
        """Return the queue that *worker* consumes."""
        match worker:
            case OwnWorker():
                return worker.queue
            case Worker.FULFILLMENT:
                return QueueAddress.parse(self.order_fulfillment_queue)
            case Worker.ESCALATION:
                return QueueAddress.parse(self.escalation_queue)

    def contradictions(self) -> list[str]:
        """Return how settings contradict each other, although each is valid by itself."""
        problems = []
        http = self.fulfillment_provider == "http"
        if http and self.fulfillment_url is None:
            problems.append("FULFILLMENT_URL is not set, must be the provider's URL if FULFILLMENT_PROVIDER is http")
        if self.fulfillment_provider == "record" and self.fulfillment_url is not None:
            problems.append(
                "FULFILLMENT_URL is set, must be absent if FULFILLMENT_PROVIDER is record, which sends nothing"
            )
        if self.fulfillment_token is not None and self.fulfillment_token_secret is not None:
            problems.append("FULFILLMENT_TOKEN and FULFILLMENT_TOKEN_SECRET are both set, must be at most one of them")
        if http and self.fulfillment_timeout_s > self.max_handle_s:
            problems.append(
                f"FULFILLMENT_TIMEOUT_S is {self.fulfillment_timeout_s:g}, must be at most WORKER_MAX_HANDLE_S, "
                f"{self.max_handle_s:g}"
            )
        return problems


def ignored_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    """
    Return the variables that are no setting although they are named like one, each with the setting that is meant.

    These are all others that begin with `WORKER_`, with None if no setting is similar, and those with nearly the name
    of a setting, such as `LOGLEVEL`. An empty variable counts as absent.
    """
    settings = [field.alias for field in Settings.model_fields.values() if field.alias]
    # Compared without the prefix, which would make all of these names similar.
    prefixed = [setting.removeprefix(_PREFIX) for setting in settings if setting.startswith(_PREFIX)]
    ignored: dict[str, str | None] = {}
    for name in sorted(
        name for name, value in environ.items() if value.strip() and name not in {*settings, *_OF_MAKE_ENV}
    ):
        upper = name.upper()
        if upper.startswith(_PREFIX):
            similar = _most_similar(upper.removeprefix(_PREFIX), prefixed, _SIMILAR)
            ignored[name] = _PREFIX + similar if similar else None
        elif similar := _most_similar(upper, settings, _NEARLY_EQUAL):
            ignored[name] = similar
    return ignored


def _most_similar(name: str, settings: Sequence[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, settings, cutoff=cutoff)), None)


def _shown(name: str, value: str) -> str:
    """Return a wrong value as an error may show it."""
    match name:
        case "FULFILLMENT_TOKEN":
            return "not shown"
        case "FULFILLMENT_URL" | "ORDER_FULFILLMENT_QUEUE" | "ESCALATION_QUEUE":
            # In a malformed URL with a password, it is unclear where the password ends.
            return mask(repr(_without_query(value))) if "@" not in value else "not shown (it has a user or password)"
        case _:
            return mask(repr(value))
