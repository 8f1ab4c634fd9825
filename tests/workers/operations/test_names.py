import pytest

from workers.errors import FatalError
from workers.operations.errors import OperationError
from workers.operations.names import Names


def test_names_default_to_those_of_a_deployment_without_a_prefix() -> None:
    assert Names.read({"ORDER_TABLE": "mine", "STATE_MACHINE": " "}) == Names(
        order_table="mine",
        escalation_table="EscalationTable",
        order_fulfillment_queue="OrderFulfillmentQueue",
        escalation_queue="EscalationQueue",
        state_machine="OrderFulfillmentStateMachine",
    )


def test_other_settings_of_a_worker_may_be_wrong() -> None:
    assert Names.read({"WORKER_CONCURRENCY": "many"}).order_table == "OrderTable"


@pytest.mark.parametrize(
    "variable", ["ORDER_TABLE", "ESCALATION_TABLE", "ORDER_FULFILLMENT_QUEUE", "ESCALATION_QUEUE", "STATE_MACHINE"]
)
def test_each_name_is_read_from_its_variable(variable: str) -> None:
    assert getattr(Names.read({variable: "mine"}), variable.lower()) == "mine"


ARN = "arn:aws-cn:states:cn-north-1:123456789012:stateMachine:Orders-1_x"


@pytest.mark.parametrize("name", ["x" * 80, ARN])
def test_a_state_machine_is_a_name_or_an_arn(name: str) -> None:
    assert Names.read({"STATE_MACHINE": f" {name} "}).state_machine == name


@pytest.mark.parametrize("name", ["a b", "arn:aws:states:us-east-1:1:stateMachine:x", "x" * 81, "\u00e9", f"{ARN}:1"])
def test_a_wrong_state_machine_is_one_line(name: str) -> None:
    with pytest.raises(OperationError) as raised:
        Names.read({"STATE_MACHINE": name})
    assert str(raised.value) == f"STATE_MACHINE is {name!r}, must be the name or the ARN of a state machine"


def test_a_wrong_table_is_an_error_of_the_settings() -> None:
    with pytest.raises(FatalError, match="ORDER_TABLE"):
        Names.read({"ORDER_TABLE": "a table"})
