"""The workers' settings: read once from the environment, checked at the start."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.domain.cards import mask
from workers.errors import FatalError

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$", description="a name, not a URL or an ARN")]


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
        pattern=r"^(record|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$",
        description="record, or a class of your own as package.module:Class",
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
            return cls.model_validate(given)
        except ValidationError as error:
            wrong = dict.fromkeys(str(each["loc"][0]) for each in error.errors())
            raise FatalError(
                "; ".join(
                    f"{name} is {mask(repr(given[name]))}, must be {cls.model_fields[names[name]].description}"
                    for name in wrong
                )
            ) from None
