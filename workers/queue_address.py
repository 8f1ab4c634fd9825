"""How a setting names an SQS queue: by its name, its URL or its ARN."""

import re
from dataclasses import dataclass
from typing import Self

_STANDARD = "the name, the URL or the ARN of a standard SQS queue"
QUEUE = f"{_STANDARD}, not of a FIFO queue"

_NAME = r"(?P<name>[A-Za-z0-9_-]{1,80})"
_FORMS = (
    re.compile(_NAME),
    re.compile(rf"arn:aws[a-z-]*:sqs:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{{12}}):{_NAME}"),
    re.compile(rf"https?://(?P<host>[^\s/?#@]+)(?:/[A-Za-z0-9_-]+)*?(?:/(?P<account>[0-9]{{12}}))?/{_NAME}"),
)
# In a host: sqs.eu-west-1.amazonaws.com, vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com, eu-west-1.queue.amazonaws.com.
_REGION = re.compile(r"(?:^|\.)(?:sqs(?:-fips)?\.([a-z]+(?:-[a-z]+)+-[0-9]+)|([a-z]+(?:-[a-z]+)+-[0-9]+)\.queue)\.")


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """
    A standard queue. `account` and `region` are None if the address does not name them: then they are the caller's.

    A FIFO queue's name ends in `.fifo`, so it is no address.
    """

    given: str
    name: str
    account: str | None = None
    region: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read *text*.

        Raises:
            ValueError: It names no standard queue.
        """
        for form in _FORMS:
            if found := form.fullmatch(text):
                parts = found.groupdict()
                return cls(text, parts["name"], parts.get("account"), parts.get("region") or _region(parts.get("host")))
        if text.endswith(".fifo"):
            raise ValueError(f"must be {QUEUE}")
        raise ValueError(f"must be {_STANDARD}, whose name has 1 to 80 letters, digits, dashes and underscores")

    def dead_letter_queue(self, arn: str) -> "QueueAddress":
        """
        Return the address of this queue's dead-letter queue: it is in the same account and region.

        Raises:
            ValueError: *arn*, from the queue's RedrivePolicy, names no standard queue.
        """
        return QueueAddress(arn, QueueAddress.parse(arn.rpartition(":")[2]).name, self.account, self.region)

    def lookup(self) -> dict[str, str]:
        """Return the parameters of GetQueueUrl."""
        owner = {} if self.account is None else {"QueueOwnerAWSAccountId": self.account}
        return {"QueueName": self.name} | owner

    def wrong_region(self, region: str) -> str | None:
        """Return what is wrong if calls to *region* cannot find the queue, else None."""
        if self.region in {None, region}:
            return None
        return (
            f"the queue {self.given} is in {self.region}, must be in the region of the calls, {region}: "
            "correct AWS_REGION or the variable that names the queue"
        )

    def missing(self) -> str:
        """Return the line for a queue that SQS does not find."""
        if self.account is None:
            return f"there is no queue {self.name}"
        return f"there is no queue {self.name} in account {self.account}, or its policy denies access"

    def __str__(self) -> str:
        return self.name


def check_queue(text: str) -> str:
    """Return *text* if it names a standard queue. Raises the same error as `QueueAddress.parse`."""
    return QueueAddress.parse(text).given


def _region(host: str | None) -> str | None:
    if host is None:
        return None
    if host == "queue.amazonaws.com":  # The oldest form.
        return "us-east-1"
    found = _REGION.search(host)
    return (found[1] or found[2]) if found else None
