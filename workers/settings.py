"""The workers' settings: read once from the environment, checked at the start."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
)

from workers.domain.cards import mask
from workers.errors import FatalError
from workers.http_values import is_endpoint, is_token

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$", description="a name, not a URL or an ARN")]


class Worker(StrEnum):
    """The workers that can be started, by their names on the command line."""

    FULFILLMENT = "fulfillment"
    ESCALATION = "escalation"


def _provider_url(text: str) -> str:
    if not is_endpoint(text):
        raise ValueError("not such a URL")
    return text


def _token(token: SecretStr) -> SecretStr:
    if not is_token(token.get_secret_value()):
        raise ValueError("no such token")
    return token


def _without_query(url: str) -> str:
    return re.sub(r"[?#].*", "?...", url, flags=re.DOTALL)


class Settings(BaseModel):
    """Every setting, by the environment variable it comes from. An empty variable counts as absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    order_table: _Name = Field("OrderTable", alias="ORDER_TABLE")
    escalation_table: _Name = Field("EscalationTable", alias="ESCALATION_TABLE")
    order_fulfillment_queue: _Name = Field("OrderFulfillmentQueue", alias="ORDER_FULFILLMENT_QUEUE")
    escalation_queue: _Name = Field("EscalationQueue", alias="ESCALATION_QUEUE")
    fulfillment_provider: str = Field(
        "record",
        alias="FULFILLMENT_PROVIDER",
        pattern=r"^(record|http|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$",
        description="record, http, or a class of your own as package.module:Class",
    )
    # The query may hold a key.
    fulfillment_url: Annotated[str, AfterValidator(_provider_url), PlainSerializer(_without_query)] | None = Field(
        None,
        alias="FULFILLMENT_URL",
        max_length=2048,
        repr=False,
        description="an https URL (http for localhost only) without user, password and fragment",
    )
    # A provider that takes longer is better asked again later, with the same idempotency key.
    fulfillment_timeout_s: float = Field(
        10, alias="FULFILLMENT_TIMEOUT_S", ge=0.1, le=300, description="0.1 to 300 seconds"
    )
    fulfillment_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None, alias="FULFILLMENT_TOKEN", description="1 to 4096 visible ASCII characters"
    )
    fulfillment_token_secret: str | None = Field(
        None,
        alias="FULFILLMENT_TOKEN_SECRET",
        pattern=r"^[A-Za-z0-9/_+=.@:!-]{1,2048}$",
        description="the name or the ARN of a secret in AWS Secrets Manager",
    )
    escalation_rules: Path | None = Field(
        None, alias="ESCALATION_RULES", description="the path of a TOML file with the rules of routing"
    )
    # An order is a few milliseconds of waiting for DynamoDB: a hundred at a time keep one core busy.
    concurrency: int = Field(100, alias="WORKER_CONCURRENCY", ge=1, le=1000, description="1 to 1000 messages at a time")
    # SQS's longest wait: three requests a minute and queue when idle.
    wait_s: int = Field(20, alias="WORKER_WAIT_S", ge=0, le=20, description="0 to 20 seconds")
    # Longer than a long poll, shorter than the 30 s that container platforms grant between SIGTERM and SIGKILL.
    drain_s: float = Field(25, alias="WORKER_DRAIN_S", ge=0, le=600, description="0 to 600 seconds")
    # Far above what an order takes; long enough to sit out a provider's restart. SQS itself ends a receipt after 12 h.
    max_handle_s: float = Field(
        900, alias="WORKER_MAX_HANDLE_S", ge=1, le=11 * 3600, description="1 to 39600 seconds (11 hours)"
    )
    # Backoff doubles from 2 s: five attempts take about half a minute, a sixth would rarely change the answer.
    max_attempts: int = Field(5, alias="WORKER_MAX_ATTEMPTS", ge=1, le=1000, description="1 to 1000 failed attempts")
    # Twice the attempts: deliveries also count deploys and crashes, which say nothing about the order.
    max_deliveries: int = Field(10, alias="WORKER_MAX_DELIVERIES", ge=1, le=995, description="1 to 995 deliveries")
    health_port: int | None = Field(None, alias="WORKER_HEALTH_PORT", ge=1, le=65535, description="1 to 65535")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["json", "console"] | None = Field(None, alias="LOG_FORMAT", description="json or console")

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """
        Read the settings from *environ*.

        Raises:
            FatalError: A value is wrong; the text names variable, value and range, one after the other.
        """
        names = {field.alias: name for name, field in cls.model_fields.items() if field.alias}
        given = {name: environ[name].strip() for name in names if environ.get(name, "").strip()}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            wrong = dict.fromkeys(str(each["loc"][0]) for each in error.errors())
            raise FatalError(
                "; ".join(
                    f"{name} is {_shown(name, given[name])}, must be {cls.model_fields[names[name]].description}"
                    for name in wrong
                )
            ) from None
        if problems := settings.contradictions():
            raise FatalError("; ".join(problems))
        return settings

    def queue_of(self, worker: Worker) -> str:
        """Return the name of the queue that *worker* consumes."""
        return self.order_fulfillment_queue if worker is Worker.FULFILLMENT else self.escalation_queue

    def contradictions(self) -> list[str]:
        """Return what is wrong with settings that are right each for itself."""
        problems = []
        http = self.fulfillment_provider == "http"
        if http and self.fulfillment_url is None:
            problems.append("FULFILLMENT_URL is not set, must be the provider's URL where FULFILLMENT_PROVIDER is http")
        if self.fulfillment_provider == "record" and self.fulfillment_url is not None:
            problems.append(
                "FULFILLMENT_URL is set, must be absent where FULFILLMENT_PROVIDER is record: nobody is asked"
            )
        if self.fulfillment_token is not None and self.fulfillment_token_secret is not None:
            problems.append("FULFILLMENT_TOKEN and FULFILLMENT_TOKEN_SECRET are both set, must be one of them at most")
        if http and self.fulfillment_timeout_s > self.max_handle_s:
            problems.append(
                f"FULFILLMENT_TIMEOUT_S is {self.fulfillment_timeout_s:g}, must be at most WORKER_MAX_HANDLE_S, "
                f"{self.max_handle_s:g}"
            )
        return problems


def _shown(name: str, value: str) -> str:
    """Return a wrong value as it may be told."""
    match name:
        case "FULFILLMENT_TOKEN":
            return "not shown"
        case "FULFILLMENT_URL":
            # Where someone has put a password, nobody can tell what belongs to it.
            return mask(repr(_without_query(value))) if "@" not in value else "not shown, with a user or password"
        case _:
            return mask(repr(value))
