"""The tables of a rules file, as pydantic models."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from workers.domain.cases import LOG_CHANNEL
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.routing import Rule
from workers.queue_address import QUEUE, QueueAddress, check_queue

URL = "an https URL (http for localhost only) without user, password and fragment"
# Only upper case, as in nearly all names of variables. If a secret is written here by mistake, it is refused, and it is
# not shown.
_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]{0,127}$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SnsTopic(_Table):
    type: Literal["sns"]
    topic_arn: str = Field(
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$",
        description="the ARN of a standard SNS topic",
    )

    @property
    def region(self) -> str:
        return self.topic_arn.split(":")[3]


class SqsTarget(_Table):
    type: Literal["sqs"]
    queue: Annotated[str, AfterValidator(check_queue)] = Field(description=QUEUE)

    @property
    def address(self) -> QueueAddress:
        return QueueAddress.parse(self.queue)


class Webhook(_Table):
    """The file has either the URL or the name of a variable with the URL, and may name one with the authorization."""

    type: Literal["webhook"]
    url: str | None = Field(None, repr=False, description=URL)
    url_env: _Variable | None = Field(None, description=f"the name of an environment variable that holds {URL}")
    authorization_env: _Variable | None = Field(
        None, description="the name of an environment variable that holds 1 to 4096 visible ASCII characters"
    )

    def address(self, environ: Mapping[str, str]) -> str:
        return self.url or environ.get(self.url_env or "", "").strip()

    def authorization(self, environ: Mapping[str, str]) -> str | None:
        return environ.get(self.authorization_env, "").strip() if self.authorization_env else None


ChannelTable = SnsTopic | SqsTarget | Webhook


CHANNEL_TYPES: dict[str, type[_Table]] = {"sns": SnsTopic, "sqs": SqsTarget, "webhook": Webhook}


class RuleTable(_Table):
    reasons: list[Reason] | None = Field(None, min_length=1, description=f"a list of any of {', '.join(Reason)}")
    sources: list[Source] | None = Field(None, min_length=1, description=f"a list of any of {', '.join(Source)}")
    severity: Severity = Field(description="info, warning or critical")
    channels: list[str] = Field([], description="a list of names of channels")

    def rule(self) -> Rule:
        return Rule(
            severity=self.severity,
            channels=tuple(self.channels),
            reasons=frozenset(self.reasons or ()),
            sources=frozenset(self.sources or ()),
        )


def _check_not_log(name: str) -> str:
    if name == LOG_CHANNEL:
        raise ValueError("the log channel always exists")
    return name


class RulesFile(_Table):
    rules: list[RuleTable] = Field(min_length=1, description="at least one [[rules]]")
    channels: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$"), AfterValidator(_check_not_log)],
        Annotated[ChannelTable, Field(discriminator="type")],
    ] = Field({}, description="tables, [channels.NAME]")
