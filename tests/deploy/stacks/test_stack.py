"""A stack through all that CloudFormation may answer, most of which the local AWS never does."""

import io
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import stack
from deploy.stacks.changes import Review
from deploy.stacks.stack import Change, StackFailedError
from tests.deploy.stacks.fakes import FakeClient, failing, fake_aws, refusal

NAME = "mine"
ARN = "arn:aws:cloudformation:eu-central-1:111122223333:stack/mine/1"
MISSING = refusal("ValidationError", message="Stack with id mine does not exist")
QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between polls, which take no time; the clock moves on by them."""
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append, monotonic=lambda: sum(waits), time_ns=lambda: 7)
    monkeypatch.setattr(stack, "time", clock)
    return waits


def event(number: int, status: str, reason: str = "", resource: str = "Queue") -> dict[str, Any]:
    described = {"LogicalResourceId": resource, "ResourceType": "AWS::SQS::Queue", "ResourceStatus": status}
    return {"EventId": str(number)} | described | ({"ResourceStatusReason": reason} if reason else {})


class CloudFormation(FakeClient):
    """
    A stack that has the next of `statuses` at each look (`None`: it does not exist), and stays in the last one.

    `new_events` happen when a change set is executed or the stack deleted.
    """

    def __init__(self, *statuses: str | None, change_set: tuple[str, str] = ("CREATE_COMPLETE", "")) -> None:
        super().__init__(
            describe_stacks=self._describe_stacks,
            describe_stack_events=self._pages_of_events,
            create_change_set=lambda **_: {"StackId": ARN},
            describe_change_set=self._describe_change_set,
            execute_change_set=self._happen,
            delete_change_set=lambda **_: {},
            delete_stack=self._happen,
        )
        self.statuses = list(statuses)
        self.change_set = change_set
        self.pending_looks = 0
        self.events = [event(0, "CREATE_COMPLETE", "before")]
        self.new_events: list[dict[str, Any]] = []
        self.pages_read = 0

    def _pages_of_events(self, **_: Any) -> Iterator[Any]:
        """Yield the events, newest first, two to a page."""
        newest_first = self.events[::-1]
        for start in range(0, max(1, len(newest_first)), 2):
            self.pages_read += 1
            yield {"StackEvents": newest_first[start : start + 2]}

    def _describe_stacks(self, **_: Any) -> Any:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            raise MISSING
        return {"Stacks": [{"StackName": NAME, "StackId": ARN, "StackStatus": status}]}

    def _describe_change_set(self, **_: Any) -> Any:
        if self.pending_looks:
            self.pending_looks -= 1
            return {"Status": "CREATE_PENDING"}
        status, reason = self.change_set
        return {"Status": status, "ChangeSetId": "change-set"} | ({"StatusReason": reason} if reason else {})

    def _happen(self, **_: Any) -> Any:
        self.events += self.new_events
        return {}


def change(kind: stack.ChangeSetType = "CREATE", **more: Any) -> Change:
    return Change(kind, {"Resources": {}}, {"TemplateBody": "{}"}, {"A": "1"}, **more)


def applied(cloudformation: FakeClient, kind: stack.ChangeSetType = "CREATE", **more: Any) -> bool:
    return stack.apply(fake_aws(cloudformation=cloudformation), NAME, change(kind, **more), QUIET)


def paged(*pages: list[dict[str, Any]]) -> FakeClient:
    return FakeClient(list_stack_resources=lambda **_: [{"StackResourceSummaries": page} for page in pages])


def test_a_stack_that_does_not_exist_is_none_and_other_errors_are_raised() -> None:
    assert stack.find(fake_aws(cloudformation=CloudFormation(None)), NAME) is None
    denied = FakeClient(describe_stacks=failing(refusal("AccessDenied")))
    with pytest.raises(type(MISSING), match="AccessDenied"):
        stack.find(fake_aws(cloudformation=denied), NAME)


def test_outputs_and_parameters_may_be_missing() -> None:
    found: Any = {
        "Outputs": [{"OutputKey": "Url", "OutputValue": "x"}],
        "Parameters": [{"ParameterKey": "A", "ParameterValue": "1"}, {"ParameterKey": "B"}],
    }
    nothing: Any = {}
    assert (stack.outputs(found), stack.outputs(nothing)) == ({"Url": "x"}, {})
    assert stack.parameters(found) == {"A": "1", "B": ""}
    assert (stack.parameters(nothing), stack.parameters(None)) == ({}, {})


def test_resources_are_found_by_type_on_all_pages() -> None:
    def resource(kind: str, physical_id: str | None, status: str = "CREATE_COMPLETE") -> dict[str, Any]:
        return {"ResourceType": kind, "PhysicalResourceId": physical_id, "ResourceStatus": status}

    client = paged(
        [resource("Q", "q1"), resource("Q", "gone", "DELETE_COMPLETE"), resource("T", None)],
        [resource("Q", "q2"), resource("T", "t1", "DELETE_FAILED")],
    )
    assert stack.resources(fake_aws(cloudformation=client), NAME) == {"Q": ["q1", "q2"], "T": ["t1"]}
    assert client.requests == [("list_stack_resources", {"StackName": NAME})]


def test_a_missing_stack_has_no_resources_and_other_errors_are_raised() -> None:
    missing = FakeClient(list_stack_resources=failing(MISSING))
    assert stack.resources(fake_aws(cloudformation=missing), NAME) == {}
    denied = FakeClient(list_stack_resources=failing(refusal("AccessDenied")))
    with pytest.raises(type(MISSING), match="AccessDenied"):
        stack.resources(fake_aws(cloudformation=denied), NAME)


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])
def test_a_busy_stack_is_refused(status: str) -> None:
    with pytest.raises(DeployError, match=rf"The stack mine is busy \({status}\)"):
        stack.make_ready(fake_aws(cloudformation=CloudFormation(status)), NAME, QUIET)


@pytest.mark.parametrize(
    "status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"]
)
def test_a_stack_that_can_be_updated_is_ready(status: str) -> None:
    found = stack.make_ready(fake_aws(cloudformation=CloudFormation(status)), NAME, QUIET)
    assert found is not None
    assert found["StackStatus"] == status


@pytest.mark.parametrize("status", [None, "REVIEW_IN_PROGRESS"])
def test_a_stack_that_was_never_created_is_to_be_created(status: str | None) -> None:
    client = CloudFormation(status)
    assert stack.make_ready(fake_aws(cloudformation=client), NAME, QUIET) is None
    assert "delete_stack" not in client.calls


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ("UPDATE_ROLLBACK_FAILED", r"is stuck in UPDATE_ROLLBACK_FAILED\. Repair it first: aws cloudformation"),
        ("DELETE_FAILED", r"is only partly deleted\. Finish that first: python -m deploy down$"),
    ],
)
def test_a_broken_stack_must_be_repaired_first(status: str, problem: str) -> None:
    with pytest.raises(DeployError, match=problem):
        stack.make_ready(fake_aws(cloudformation=CloudFormation(status)), NAME, QUIET)


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"])
def test_the_rest_of_a_failed_creation_is_deleted(status: str) -> None:
    client, said = CloudFormation(status, status, None), io.StringIO()
    assert stack.make_ready(fake_aws(cloudformation=client), NAME, Progress(said)) is None
    assert client.calls.count("delete_stack") == 1
    assert said.getvalue() == f"Deleting the rest of a failed attempt to create the stack mine ({status})\n"


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"])
def test_a_change_set_is_created_executed_and_waited_for(status: str) -> None:
    client = CloudFormation("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", status)
    client.pending_looks = 2
    assert applied(client, kept=("C", "B"))
    assert dict(client.requests)["create_change_set"] == {
        "StackName": NAME,
        "ChangeSetName": "deploy-7",
        "ChangeSetType": "CREATE",
        "Parameters": [
            {"ParameterKey": "A", "ParameterValue": "1"},
            {"ParameterKey": "B", "UsePreviousValue": True},
            {"ParameterKey": "C", "UsePreviousValue": True},
        ],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "TemplateBody": "{}",
    }
    assert dict(client.requests)["execute_change_set"] == {"StackName": NAME, "ChangeSetName": "deploy-7"}
    named = {request["StackName"] for operation, request in client.requests if "change_set" not in operation}
    assert named == {ARN}, "by its ARN, so that the events of an earlier stack of the same name do not count"


def test_tags_and_role_are_sent_only_if_the_stack_is_to_have_others() -> None:
    role = "arn:aws:iam::111122223333:role/R"
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"tags": [], "role_arn": role}, {"Tags": [], "RoleARN": role}),
        ({"tags": [{"Key": "Team", "Value": "a"}]}, {"Tags": [{"Key": "Team", "Value": "a"}]}),
    ]
    for more, sent in cases:
        client = CloudFormation("CREATE_COMPLETE")
        assert applied(client, **more)
        request = dict(client.requests)["create_change_set"]
        assert {name: request[name] for name in ("Tags", "RoleARN") if name in request} == sent


def test_imported_resources_are_named() -> None:
    client = CloudFormation("IMPORT_COMPLETE")
    imports = ({"ResourceType": "T", "LogicalResourceId": "Table", "ResourceIdentifier": {"TableName": "t"}},)
    assert applied(client, "IMPORT", imports=imports)
    assert dict(client.requests)["create_change_set"]["ResourcesToImport"] == imports


@pytest.mark.parametrize(
    "reason", ["The submitted information didn't contain changes.", "No updates are to be performed."]
)
def test_a_change_set_without_changes_is_deleted(reason: str) -> None:
    client = CloudFormation("UPDATE_COMPLETE", change_set=("FAILED", reason))
    assert not applied(client, "UPDATE")
    assert client.calls[-1] == "delete_change_set"
    assert "execute_change_set" not in client.calls


@pytest.mark.parametrize(
    ("kind", "status", "deleted"),
    [
        ("UPDATE", "REVIEW_IN_PROGRESS", 0),
        ("CREATE", "REVIEW_IN_PROGRESS", 1),
        ("IMPORT", "REVIEW_IN_PROGRESS", 1),
        ("CREATE", "CREATE_IN_PROGRESS", 0),
        ("CREATE", None, 0),
    ],
)
def test_a_refused_template_leaves_no_change_set_and_no_empty_stack(
    kind: stack.ChangeSetType, status: str | None, deleted: int
) -> None:
    client = CloudFormation(status, change_set=("FAILED", "Circular dependency"))
    with pytest.raises(StackFailedError, match=r"^CloudFormation does not accept the template: Circular dependency$"):
        applied(client, kind)
    assert (client.calls.count("delete_change_set"), client.calls.count("delete_stack")) == (1, deleted)


def test_a_refusal_without_a_reason_says_so() -> None:
    with pytest.raises(StackFailedError, match="no reason given"):
        applied(CloudFormation("UPDATE_COMPLETE", change_set=("FAILED", "")), "UPDATE")


@pytest.mark.parametrize("error", [DeployError("no"), KeyboardInterrupt()])
def test_an_update_that_is_not_approved_deletes_its_change_set(error: BaseException) -> None:
    class Refusing(Review):
        def __call__(self, *_: Any) -> None:
            raise error

    client = CloudFormation("UPDATE_COMPLETE")
    client.operations["describe_change_set"] = Described()
    with pytest.raises(type(error)):
        stack.apply(fake_aws(cloudformation=client), NAME, change("UPDATE"), QUIET, Refusing(lambda: True))
    assert client.calls[-1] == "delete_change_set"
    assert "execute_change_set" not in client.calls


class Described:
    """The description of a change set without changes: once as it is, and then in pages."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, **_: Any) -> Any:
        self.looks += 1
        page = {"Status": "CREATE_COMPLETE", "StackId": ARN, "Changes": []}
        return page if self.looks == 1 else [page]


def test_only_an_update_is_reviewed() -> None:
    reviewed: list[str] = []

    class Recording(Review):
        def __call__(self, stack_name: str, *_: Any) -> None:
            reviewed.append(stack_name)

    for kind in ("CREATE", "UPDATE", "IMPORT"):
        client = CloudFormation("UPDATE_COMPLETE")
        client.operations["describe_change_set"] = Described()
        stack.apply(fake_aws(cloudformation=client), NAME, change(kind), QUIET, Recording(lambda: True))
    assert reviewed == [NAME]


def test_the_first_resource_that_failed_is_named() -> None:
    client = CloudFormation("UPDATE_ROLLBACK_COMPLETE")
    client.new_events = [
        event(1, "UPDATE_FAILED", "Resource update cancelled", "Table"),
        event(2, "CREATE_FAILED", "Invalid value", "Broken"),
        event(3, "CREATE_FAILED", "later", "Other"),
        event(4, "UPDATE_ROLLBACK_COMPLETE"),
    ]
    with pytest.raises(StackFailedError) as raised:
        applied(client)
    assert str(raised.value) == (
        "The stack mine failed (UPDATE_ROLLBACK_COMPLETE): Broken (AWS::SQS::Queue) CREATE_FAILED: Invalid value"
    )


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (
            [event(1, "CREATE_FAILED", "Resource creation cancelled")],
            ": Queue (AWS::SQS::Queue) CREATE_FAILED: Resource",
        ),
        ([event(1, "CREATE_FAILED")], ": Queue (AWS::SQS::Queue) CREATE_FAILED"),
        ([event(1, "CREATE_COMPLETE", "fine")], ""),
        ([], ""),
    ],
)
def test_without_a_cause_what_is_known_is_named(events: list[dict[str, Any]], text: str) -> None:
    client = CloudFormation("ROLLBACK_COMPLETE")
    client.new_events = events
    with pytest.raises(StackFailedError) as raised:
        applied(client)
    assert str(raised.value).startswith(f"The stack mine failed (ROLLBACK_COMPLETE){text}")
    assert text or str(raised.value).endswith(")")


def test_a_failure_of_an_earlier_deployment_is_not_named() -> None:
    client = CloudFormation("ROLLBACK_COMPLETE")
    client.events = [event(0, "CREATE_FAILED", "long ago")]
    with pytest.raises(StackFailedError, match=r"^The stack mine failed \(ROLLBACK_COMPLETE\)$"):
        applied(client)


def test_what_happened_before_the_change_set_was_executed_is_not_named() -> None:
    client = CloudFormation("ROLLBACK_COMPLETE")

    def create_change_set(**_: Any) -> Any:
        client.events.append(event(9, "CREATE_FAILED", "earlier"))
        return {"StackId": ARN}

    client.operations["create_change_set"] = create_change_set
    with pytest.raises(StackFailedError, match=r"^The stack mine failed \(ROLLBACK_COMPLETE\)$"):
        applied(client)


def test_a_stack_deleted_meanwhile_is_an_error() -> None:
    with pytest.raises(StackFailedError, match="The stack mine was deleted while it was being deployed"):
        applied(CloudFormation(None))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_event_is_shown_once_in_its_order() -> None:
    client, said = CloudFormation("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"), Terminal()
    client.new_events = [event(1, "CREATE_IN_PROGRESS"), event(2, "CREATE_COMPLETE", "done")]
    stack.apply(fake_aws(cloudformation=client), NAME, change(), Progress(said))
    assert said.getvalue().splitlines() == [
        "  Queue (AWS::SQS::Queue) CREATE_IN_PROGRESS",
        "  Queue (AWS::SQS::Queue) CREATE_COMPLETE: done",
    ]


def test_the_polls_get_rarer_and_end_after_an_hour(slept: list[float]) -> None:
    client = CloudFormation("CREATE_IN_PROGRESS")
    with pytest.raises(DeployError, match=r"^The stack was not done within 3600 s\. To look at it: python -m deploy"):
        applied(client)
    assert slept[:3] == [0.1, pytest.approx(0.15), pytest.approx(0.225)]
    assert max(slept) == slept[-1] == 3.0
    assert 3600 <= sum(slept) < 3603


def test_a_poll_at_the_very_end_is_too_late(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "TIMEOUT_S", 0.1)
    with pytest.raises(DeployError, match="was not done within 0 s"):
        applied(CloudFormation("CREATE_IN_PROGRESS"))
    assert slept == [0.1]


@pytest.mark.parametrize(
    ("kind", "change_set", "changed", "said"),
    [
        ("CREATE", ("CREATE_COMPLETE", ""), True, ["Creating the stack mine in eu-central-1", "is deployed"]),
        (
            "UPDATE",
            ("FAILED", "didn't contain changes"),
            False,
            ["Updating the stack mine in eu-central-1", "is unchanged"],
        ),
    ],
)
def test_a_deployment_is_reported(
    kind: stack.ChangeSetType, change_set: tuple[str, str], changed: bool, said: list[str]
) -> None:
    client, output = CloudFormation("CREATE_COMPLETE", change_set=change_set), io.StringIO()
    result = stack.deploy(fake_aws(cloudformation=client), NAME, change(kind), Progress(output))
    assert (result[0], result[1]["StackStatus"]) == (changed, "CREATE_COMPLETE")
    first, last = output.getvalue().splitlines()
    assert (first, last) == (said[0], f"The stack mine {said[1]}")


def test_a_stack_that_is_gone_after_its_deployment_is_an_error() -> None:
    client = CloudFormation("CREATE_COMPLETE", None)
    with pytest.raises(DeployError, match="The stack mine was deleted while it was being deployed"):
        stack.deploy(fake_aws(cloudformation=client), NAME, change(), QUIET)


def test_a_missing_stack_is_not_deleted() -> None:
    client = CloudFormation(None)
    stack.delete(fake_aws(cloudformation=client), NAME, QUIET)
    assert "delete_stack" not in client.calls


def test_a_deletion_is_waited_for() -> None:
    client = CloudFormation("CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_IN_PROGRESS", "DELETE_COMPLETE")
    client.new_events, said = [event(1, "DELETE_COMPLETE")], Terminal()
    stack.delete(fake_aws(cloudformation=client), NAME, Progress(said))
    assert said.getvalue() == "  Queue (AWS::SQS::Queue) DELETE_COMPLETE\n", "none of before"
    assert dict(client.requests)["delete_stack"] == {"StackName": ARN}
    assert client.statuses == ["DELETE_COMPLETE"]


def test_a_failed_deletion_names_its_cause() -> None:
    client = CloudFormation("CREATE_COMPLETE", "DELETE_FAILED")
    client.new_events = [event(1, "DELETE_FAILED", "it is not empty", "Bucket")]
    with pytest.raises(StackFailedError, match=r"mine failed \(DELETE_FAILED\): Bucket .* it is not empty$"):
        stack.delete(fake_aws(cloudformation=client), NAME, QUIET)


def test_events_that_cannot_be_read_are_an_error() -> None:
    client = CloudFormation("CREATE_COMPLETE")
    client.operations["describe_stack_events"] = failing(MISSING)
    assert applied(client)
    client.operations["describe_stack_events"] = failing(refusal("AccessDenied"))
    with pytest.raises(type(MISSING), match="AccessDenied"):
        applied(client)


def test_events_are_read_from_where_the_last_look_ended() -> None:
    """No event is missed, repeated or read again, however many there are, and whenever they come."""
    client, said = CloudFormation(*["CREATE_IN_PROGRESS"] * 3, "CREATE_COMPLETE"), Terminal()
    client.events = [event(number, "CREATE_COMPLETE", "old") for number in range(100)]
    coming = [[], [event(100 + n, "CREATE_IN_PROGRESS") for n in range(5)], [event(105, "CREATE_COMPLETE")], []]
    describe = client.operations["describe_stacks"]

    def look(**_: Any) -> Any:
        client.events += coming.pop(0)
        return describe()

    client.operations["describe_stacks"] = look
    stack.apply(fake_aws(cloudformation=client), NAME, change(), Progress(said))

    lines = ["  Queue (AWS::SQS::Queue) CREATE_IN_PROGRESS"] * 5 + ["  Queue (AWS::SQS::Queue) CREATE_COMPLETE"]
    assert said.getvalue().splitlines() == lines
    assert client.pages_read == 1 + 1 + 3 + 1 + 1, "only pages with new events, and the one where they end"


def test_a_cause_on_a_later_page_of_events_is_named() -> None:
    client = CloudFormation("ROLLBACK_COMPLETE")
    client.events = [event(0, "CREATE_FAILED", "long ago")]
    client.new_events = [event(1, "CREATE_FAILED", "now"), *(event(n, "DELETE_COMPLETE") for n in range(2, 9))]
    with pytest.raises(StackFailedError, match=r"now$"):
        applied(client)


def test_a_template_that_fails_validation_keeps_its_change_set_and_says_where_the_details_are() -> None:
    reason = "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]."
    client = CloudFormation("REVIEW_IN_PROGRESS", change_set=("FAILED", reason))
    with pytest.raises(StackFailedError) as raised:
        applied(client)
    assert str(raised.value) == (
        f"Nothing was changed. CloudFormation does not accept the template: {reason} "
        f"(aws cloudformation describe-events --stack-name {NAME} --change-set-name deploy-7)"
    )
    assert not {"delete_change_set", "delete_stack", "execute_change_set"} & set(client.calls)


DECLARED = {"Outputs": {"Url": {"Value": "x"}, "Key": {"Value": "x"}, "Sometimes": {"Condition": "C", "Value": "x"}}}
READY = "The stack mine is ready (to look at it: python -m deploy status), but its outputs cannot be read"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"Outputs": [{"OutputKey": "Url", "OutputValue": "u"}, {"OutputKey": "Key", "OutputValue": "k"}]}, None),
        ({"Outputs": [{"OutputKey": "Url", "OutputValue": "u"}]}, f"{READY}: AWS does not return Key"),
        ({}, f"{READY}: AWS does not return Key, Url"),
        (refusal("AccessDenied", operation="X"), f"{READY}. AWS refused X (AccessDenied): no"),
        (EndpointConnectionError(endpoint_url="u"), f'{READY}. AWS cannot be reached: Could not connect to .* "u"'),
    ],
)
def test_outputs_that_cannot_be_read_are_an_error(answer: Any, problem: str | None) -> None:
    client, said = CloudFormation("CREATE_COMPLETE"), io.StringIO()
    deployed = Change("CREATE", DECLARED, {"TemplateBody": "{}"}, {})

    def describe_stacks(**request: Any) -> Any:
        if request["StackName"] == ARN:
            return {"Stacks": [{"StackStatus": "CREATE_COMPLETE"}]}
        if isinstance(answer, Exception):
            raise answer
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE"} | answer]}

    client.operations["describe_stacks"] = describe_stacks
    if problem is None:
        stack.deploy(fake_aws(cloudformation=client), NAME, deployed, Progress(said))
    else:
        with pytest.raises(DeployError) as raised:
            stack.deploy(fake_aws(cloudformation=client), NAME, deployed, Progress(said))
        assert re.fullmatch(re.escape(problem).replace(r"\.\*", ".*"), str(raised.value))
    assert said.getvalue().endswith("The stack mine is deployed\n")
