"""The names of a stack's resources."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from workers.domain.text import clean
from workers.operations.errors import OperationError

DEFAULT_STATE_MACHINE = "OrderFulfillmentStateMachine"

_SETTINGS = ("ORDER_TABLE", "ESCALATION_TABLE", "ORDER_FULFILLMENT_QUEUE", "ESCALATION_QUEUE")
_STATE_MACHINE = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_STATE_MACHINE_ARN = re.compile(
    r"arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{12}:stateMachine:[A-Za-z0-9_-]{1,80}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of tables and queues, from the workers' variables. A queue may be a URL or an ARN, a machine an ARN."""

    order_table: str
    escalation_table: str
    order_fulfillment_queue: str
    escalation_queue: str
    state_machine: str

    @property
    def queues(self) -> dict[str, str]:
        """The queues by what they are called on the command line."""
        return {"fulfillment": self.order_fulfillment_queue, "escalation": self.escalation_queue}

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """
        Read the names from *environ*.

        Raises:
            FatalError: The name of a table or queue is wrong.
            OperationError: The name of the state machine is wrong.
        """
        from workers.settings import Settings  # noqa: PLC0415 - takes 0.25 s, and not all commands need it.

        # Only these variables: an operator's environment may have wrong values for a worker's other settings.
        settings = Settings.read({name: environ[name] for name in _SETTINGS if name in environ})
        state_machine = environ.get("STATE_MACHINE", "").strip() or DEFAULT_STATE_MACHINE
        if not (_STATE_MACHINE.fullmatch(state_machine) or _STATE_MACHINE_ARN.fullmatch(state_machine)):
            raise OperationError(
                f"STATE_MACHINE is {clean(state_machine)!r}, must be the name or the ARN of a state machine"
            )
        return cls(
            order_table=settings.order_table,
            escalation_table=settings.escalation_table,
            order_fulfillment_queue=settings.order_fulfillment_queue,
            escalation_queue=settings.escalation_queue,
            state_machine=state_machine,
        )
