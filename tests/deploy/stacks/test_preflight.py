"""What is checked before anything is created: names in use elsewhere, names just freed, roles and quotas."""

import io
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import preflight, template
from deploy.stacks.stack import StackFailedError
from tests.deploy.stacks.fakes import FakeClient, MissingError, failing, fake_aws, refusal

PIPELINE = template.load(template.PIPELINE)
WORKERS = template.load(template.WORKERS)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
QUIET = Progress(quiet=True)
NO_STACK = refusal("ValidationError", message="Stack with id mine does not exist")
TRUST = {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:states:eu-west-1:111122223333:stateMachine:X"}}}


class Iam(FakeClient):
    """Has `roles`, each with its trust policy."""

    def __init__(self, roles: Mapping[str, Any]) -> None:
        super().__init__(get_role=self._get_role, create_service_linked_role=lambda **_: {})
        self.roles = roles

    def _get_role(self, RoleName: str) -> Any:  # noqa: N803
        if RoleName not in self.roles:
            raise MissingError
        return {"Role": {"AssumeRolePolicyDocument": self.roles[RoleName]}}


def cloudformation(**resources: list[str]) -> FakeClient:
    """Return a CloudFormation whose stack has these resources: `Role=["a"]`."""
    types = {"Role": template.ROLE_TYPE, "Dashboard": template.DASHBOARD_TYPE, "Queue": template.QUEUE_TYPE}
    types["Service"] = "AWS::ECS::Service"
    found = [
        {"ResourceType": types[kind], "PhysicalResourceId": name, "ResourceStatus": "CREATE_COMPLETE"}
        for kind, names in resources.items()
        for name in names
    ]
    return FakeClient(list_stack_resources=lambda **_: [{"StackResourceSummaries": found}])


def cloudwatch(*dashboards: str) -> FakeClient:
    def get_dashboard(DashboardName: str) -> Any:  # noqa: N803
        if DashboardName not in dashboards:
            raise refusal("ResourceNotFound", 404)
        return {}

    return FakeClient(get_dashboard=get_dashboard)


def checked(source: Mapping[str, Any], name_prefix: str = "", **clients: FakeClient) -> None:
    with_defaults = {"iam": Iam({}), "cloudwatch": cloudwatch(), "cloudformation": cloudformation()} | clients
    preflight.check_global_names(fake_aws("eu-central-1", **with_defaults), "mine", source, name_prefix)


@pytest.mark.parametrize("source", [PIPELINE, WORKERS], ids=["pipeline", "workers"])
def test_free_names_are_accepted(source: Mapping[str, Any]) -> None:
    checked(source)


def test_roles_of_a_second_region_are_named_with_the_way_out() -> None:
    roles = {"RoleForLambda": {}, "Role4OrderFulfillmentStepFunctions": TRUST}
    with pytest.raises(DeployError) as raised:
        checked(PIPELINE, iam=Iam(roles))
    assert str(raised.value) == (
        "Nothing was created: the role RoleForLambda, the role Role4OrderFulfillmentStepFunctions exist already, and "
        "do not belong to the stack mine. Such names must be unique in an account, over all its regions. A stack in "
        "eu-west-1 uses them. To deploy under other names: --name-prefix eu-central-1-. "
        "If nothing uses them, delete them"
    )


def test_a_role_that_does_not_name_its_region_is_named_too() -> None:
    with pytest.raises(DeployError, match=r"the role x-RoleForLambda exist already.*regions\. To deploy under other"):
        checked(PIPELINE, "x-", iam=Iam({"x-RoleForLambda": {}}))


def test_dashboards_are_global_too() -> None:
    with pytest.raises(DeployError, match="Nothing was created: the dashboard x-order-fulfillment exist already"):
        checked(WORKERS, "x-", cloudwatch=cloudwatch("x-order-fulfillment"))


def test_what_belongs_to_the_stack_is_accepted_without_a_look() -> None:
    roles = dict.fromkeys(template.names(WORKERS, {}, template.ROLE_TYPE, "RoleName").values(), TRUST)
    iam, dashboards = Iam(roles), cloudwatch("order-fulfillment")
    ours = cloudformation(Role=list(roles), Dashboard=["order-fulfillment"])
    checked(WORKERS, iam=iam, cloudwatch=dashboards, cloudformation=ours)
    assert iam.calls == dashboards.calls == []


def test_a_role_that_an_update_adds_is_looked_up() -> None:
    ours = cloudformation(Role=["RoleForLambda"])
    with pytest.raises(DeployError, match="the role Role4OrderFulfillmentStepFunctions exist already"):
        checked(
            PIPELINE,
            iam=Iam({"RoleForLambda": {}, "Role4OrderFulfillmentStepFunctions": {}}),
            cloudformation=ours,
        )


@pytest.mark.parametrize(
    ("name_prefix", "suggested"),
    [
        ("test-", "test-eu-central-1-"),
        ("a-prefix-of-17-l-", "a-prefix-of-17-l-eu-central-1-"),
        ("a-prefix-of-23-letters-", "eu-central-1-"),
    ],
)
def test_the_suggested_prefix_is_valid(name_prefix: str, suggested: str) -> None:
    with pytest.raises(DeployError) as raised:
        checked(PIPELINE, name_prefix, iam=Iam({f"{name_prefix}RoleForLambda": {}}))
    assert f"--name-prefix {suggested}. " in str(raised.value)
    template.check_parameters(PIPELINE, {"NamePrefix": suggested})


def test_a_look_that_is_denied_is_an_error() -> None:
    denied = failing(refusal("AccessDenied", 403))
    with pytest.raises(ClientError, match="AccessDenied"):
        checked(PIPELINE, iam=FakeClient(get_role=denied))
    with pytest.raises(ClientError, match="AccessDenied"):
        checked(WORKERS, cloudwatch=FakeClient(get_dashboard=denied))


def test_a_busy_stack_is_reported_before_its_names() -> None:
    busy = {"StackName": "order-fulfillment", "StackStatus": "CREATE_IN_PROGRESS"}
    client = FakeClient(describe_stacks=lambda **_: {"Stacks": [busy]})
    with pytest.raises(DeployError, match="order-fulfillment is busy"):
        preflight.check(fake_aws(cloudformation=client, iam=Iam({})), {"order-fulfillment": PIPELINE}, "")
    assert client.calls == ["describe_stacks"]


def test_the_names_of_each_stack_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[tuple[str, object, str]] = []
    monkeypatch.setattr(preflight, "check_global_names", lambda _, *checked: checks.append(checked))
    client = FakeClient(describe_stacks=failing(NO_STACK))
    preflight.check(fake_aws(cloudformation=client), {"a": PIPELINE, "b": WORKERS}, "p-")
    assert checks == [("a", PIPELINE, "p-"), ("b", WORKERS, "p-")]


def deletion(seconds_ago: float, kind: str = template.QUEUE_TYPE, status: str = "DELETE_COMPLETE") -> dict[str, Any]:
    return {"Timestamp": NOW - timedelta(seconds=seconds_ago), "ResourceType": kind, "ResourceStatus": status}


class History:
    """The events of stacks, by name or ARN, and the stacks that were deleted."""

    def __init__(self, events: Mapping[str, list[dict[str, Any]]], deleted: list[dict[str, Any]], *queues: str) -> None:
        self.events = events
        self.client = cloudformation(Queue=[f"https://sqs/1/{queue}" for queue in queues])
        self.client.operations |= {
            "describe_stack_events": self._events,
            "list_stacks": lambda **_: [{"StackSummaries": []}, {"StackSummaries": deleted}],
        }
        self.slept: list[float] = []
        self.said = io.StringIO()

    def _events(self, StackName: str) -> Iterator[Any]:  # noqa: N803
        if StackName not in self.events:
            raise NO_STACK
        yield {"StackEvents": self.events[StackName]}

    def waited(self) -> list[float]:
        preflight.await_queue_names(
            fake_aws(cloudformation=self.client),
            "mine",
            PIPELINE,
            "",
            Progress(self.said),
            sleep=self.slept.append,
            now=lambda: NOW,
        )
        return self.slept


def stack_deleted(arn: str = "arn", name: str = "mine", minutes_ago: float | None = 1) -> dict[str, Any]:
    when = {} if minutes_ago is None else {"DeletionTime": NOW - timedelta(minutes=minutes_ago)}
    return {"StackName": name, "StackId": arn} | when


@pytest.mark.parametrize(
    ("events", "deleted", "wait_s"),
    [
        ({}, [], []),
        ({"arn": [deletion(20)]}, [stack_deleted()], [50]),
        ({"arn": [deletion(20)]}, [stack_deleted(minutes_ago=None)], [50]),
        ({"arn": [deletion(5, "AWS::Logs::LogGroup"), deletion(20), deletion(30)]}, [stack_deleted()], [50]),
        ({"arn": [deletion(69.5)]}, [stack_deleted()], [0.5]),
        ({"arn": [deletion(70)]}, [stack_deleted()], []),
        ({"arn": [deletion(20, status="DELETE_FAILED")]}, [stack_deleted()], []),
        ({"arn": [deletion(20)]}, [stack_deleted(name="other")], []),
        ({"arn": [deletion(20)]}, [stack_deleted(minutes_ago=121)], []),
        ({"a": [deletion(40)], "b": [deletion(10)]}, [stack_deleted("a"), stack_deleted("b")], [60]),
        ({"mine": [deletion(30)]}, [], [40]),  # A creation, or an update, was rolled back.
    ],
)
def test_names_of_queues_that_were_just_deleted_are_waited_for(
    events: Mapping[str, list[dict[str, Any]]], deleted: list[dict[str, Any]], wait_s: list[float]
) -> None:
    history = History(events, deleted)
    assert history.waited() == wait_s
    assert history.said.getvalue().startswith("Waiting ") is bool(wait_s)


def test_events_of_more_than_a_minute_ago_are_not_read() -> None:
    def events(**_: Any) -> Iterator[Any]:
        yield {"StackEvents": [deletion(71, "AWS::Logs::LogGroup")]}
        pytest.fail("a page with older events was read")

    history = History({}, [stack_deleted()])
    history.client.operations["describe_stack_events"] = events
    assert history.waited() == []


def test_only_queues_that_are_created_are_waited_for() -> None:
    queues = template.names(PIPELINE, {}, template.QUEUE_TYPE, "QueueName").values()
    history = History({"mine": [deletion(1)]}, [stack_deleted()], *queues)
    assert history.waited() == []
    assert history.client.calls == ["list_stack_resources"]


@pytest.mark.parametrize(
    ("executions", "said"),
    [
        (1000, ""),
        (100, ""),
        (
            10,
            (
                "Lambda may run only 10 executions at a time here, shared by all functions without a reserve. Beyond "
                "100 orders a second, orders wait, and may be escalated as VERIFICATION_UNAVAILABLE. To raise the "
                "quota: Service Quotas, AWS Lambda, Concurrent executions\n"
            ),
        ),
    ],
)
def test_a_small_quota_of_lambda_is_reported(executions: int, said: str) -> None:
    limit = {"AccountLimit": {"ConcurrentExecutions": 5000, "UnreservedConcurrentExecutions": executions}}
    output = io.StringIO()
    preflight.report_few_executions(
        fake_aws("eu-central-1", **{"lambda": FakeClient(get_account_settings=lambda: limit)}), Progress(output)
    )
    assert output.getvalue() == said


def test_a_quota_that_may_not_be_read_stops_nothing() -> None:
    output, denied = io.StringIO(), FakeClient(get_account_settings=failing(refusal("AccessDeniedException")))
    preflight.report_few_executions(fake_aws("eu-central-1", **{"lambda": denied}), Progress(output))
    assert output.getvalue() == "Lambda's quota of concurrent executions is unknown (AccessDeniedException)\n"


ECS, SCALING = preflight.SERVICE_LINKED_ROLES


@pytest.mark.parametrize(
    ("existing", "created"),
    [
        ([], [ECS, SCALING]),
        ([preflight.SERVICE_LINKED_ROLES[ECS]], [SCALING]),
        (list(preflight.SERVICE_LINKED_ROLES.values()), []),
    ],
)
def test_a_missing_service_linked_role_is_created_and_given_time(existing: list[str], created: list[str]) -> None:
    iam, slept, said = Iam({name: {} for name in existing}), list[float](), io.StringIO()
    preflight.ensure_service_linked_roles(fake_aws(iam=iam), Progress(said), slept.append)
    asked = [request["AWSServiceName"] for call, request in iam.requests if call == "create_service_linked_role"]
    assert asked == created
    assert slept == ([15] if created else [])
    assert said.getvalue().splitlines() == [
        f"Creating the role {preflight.SERVICE_LINKED_ROLES[service]}, which AWS's service uses in this account"
        for service in created
    ]


def test_a_service_linked_role_that_was_created_meanwhile_is_used() -> None:
    iam, slept = Iam({}), list[float]()
    iam.operations["create_service_linked_role"] = failing(MissingError())
    preflight.ensure_service_linked_roles(fake_aws(iam=iam), QUIET, slept.append)
    assert slept == [15]
    assert [call for call, _ in iam.requests].count("create_service_linked_role") == 2


@pytest.mark.parametrize(
    ("sources", "services", "looked"),
    [
        ({"a": PIPELINE}, [], {"quota"}),
        ({"a": PIPELINE, "b": WORKERS}, [], {"quota", "roles"}),
        ({"a": PIPELINE, "b": WORKERS}, ["fulfillment"], {"quota"}),
    ],
)
def test_each_stack_gets_what_it_needs(
    sources: Mapping[str, Mapping[str, Any]], services: list[str], looked: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that runs proves that its roles are there."""
    done: list[str] = []
    monkeypatch.setattr(preflight, "report_few_executions", lambda *_: done.append("quota"))
    monkeypatch.setattr(preflight, "ensure_service_linked_roles", lambda *_: done.append("roles"))
    monkeypatch.setattr(preflight, "await_queue_names", lambda _aws, name, *_: done.append(name))
    preflight.prepare(fake_aws(cloudformation=cloudformation(Service=services)), sources, "", QUIET)
    assert set(done) == {*looked, *sources}


SQS_REFUSES = StackFailedError(
    "The stack mine failed (ROLLBACK_COMPLETE): OrderFulfillmentQueue (AWS::SQS::Queue) CREATE_FAILED: You must wait "
    "60 seconds after deleting a queue before you can create another with the same name. (Service: Sqs)"
)


def attempts(*outcomes: Exception | str) -> tuple[list[str | float], Callable[[], str]]:
    """Return a list of what happens, and a deployment that ends in each outcome by turns."""
    happened: list[str | float] = []
    left = list(outcomes)

    def deploy() -> str:
        happened.append("deploy")
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return happened, deploy


def test_a_stack_that_was_rolled_back_because_of_a_queues_name_is_tried_once_more() -> None:
    happened, deploy = attempts(SQS_REFUSES, "deployed")
    said = io.StringIO()
    assert preflight.once_queue_names_are_free(deploy, Progress(said), sleep=happened.append) == "deployed"
    assert happened == ["deploy", 70.0, "deploy"]
    assert said.getvalue().splitlines() == [
        str(SQS_REFUSES),
        "Waiting 70 s until SQS accepts the name again, then trying once more",
    ]


@pytest.mark.parametrize(
    ("outcomes", "tried"),
    [([SQS_REFUSES, SQS_REFUSES], 2), ([StackFailedError("other")], 1), ([DeployError(str(SQS_REFUSES))], 1)],
)
def test_only_the_name_of_a_queue_is_tried_again_and_only_once(outcomes: list[DeployError], tried: int) -> None:
    happened, deploy = attempts(*outcomes)
    with pytest.raises(DeployError) as raised:
        preflight.once_queue_names_are_free(deploy, Progress(quiet=True), sleep=lambda _: None)
    assert raised.value is outcomes[-1]
    assert happened == ["deploy"] * tried
