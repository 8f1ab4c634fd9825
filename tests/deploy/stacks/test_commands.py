"""What the commands ask and print."""

import argparse
import io
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import commands, pipeline, preflight, running, stack
from deploy.stacks import workers as workers_stack
from deploy.stacks.contents import Contents, Table
from deploy.stacks.options import StackOptions
from deploy.stacks.running import Alarm, Alarms, Service, Services
from tests.deploy.stacks.fakes import ACCOUNT, fake_aws
from tests.json_documents import DEPLOY_STATUS, check

if TYPE_CHECKING:
    from deploy.stacks.changes import Review


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "agreed"), [("yes\n", True), (" yes \n", True), ("y\n", False), ("YES\n", False), ("", False)]
)
def test_only_yes_confirms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, agreed: bool
) -> None:
    asked = io.BytesIO()
    screen = io.TextIOWrapper(io.BufferedWriter(asked))
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", screen)
        assert commands._confirmed("Delete all of it?", "deleted", yes=False) is agreed
    assert asked.getvalue() == b"Delete all of it? Type yes: "
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_only_the_option_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert commands._confirmed("Delete all of it?", "deleted", yes=True)
    with pytest.raises(DeployError, match=r"^Nothing was deleted: there is no terminal to ask .* To confirm: --yes$"):
        commands._confirmed("Delete all of it?", "deleted", yes=False)


def test_outputs_are_sorted_columns(capsys: pytest.CaptureFixture[str]) -> None:
    commands._print_outputs({"Url": "u", "Name": "n"})
    commands._print_outputs({})
    assert capsys.readouterr().out == "Name  n\nUrl   u\n-  (no outputs)\n"


@pytest.mark.parametrize("check", [commands.status, commands.down])
def test_a_wrong_prefix_is_refused_before_aws_is_asked(check: Callable[..., int]) -> None:
    class Options:
        name_prefix = "-wrong"

    with pytest.raises(DeployError, match="NamePrefix"):
        check(Options())


ALARMS = ["1 of 4 alarms in ALARM", "  p-order-fulfillment and p-order-fulfillment-workers: late"]


class World:
    """What the commands use, with its calls in order. `senders` is what the deployed stack has."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.senders = "arn:aws:iam::111122223333:user/ann"
        self.sweep = "ENABLED"
        self.images: list[str | None] = ["i", "i"]  # Of the workers' stack, before and after.
        self.pipeline: dict[str, Any] | None = {"StackStatus": "UPDATE_COMPLETE"}
        self.workers: dict[str, Any] | None = {"StackStatus": "UPDATE_COMPLETE"}
        self.status: pipeline.Status | None = pipeline.Status(
            "CREATE_COMPLETE", {"Url": "u"}, Contents((Table("Orders", 1, more=False),), (), 0)
        )
        self.deleted = True

    def find(self, _aws: Aws, name: str) -> Any:
        if not name.endswith("-workers"):
            return self.pipeline
        if self.workers is None:
            return None
        image = self.images["up workers" in dict(self.calls)]
        given = [] if image is None else [{"ParameterKey": "Image", "ParameterValue": image}]
        return {**self.workers, "Parameters": given}

    def preflight(self, step: str) -> Callable[..., None]:
        return lambda _aws, sources, prefix, *_: self.calls.append((step, (list(sources), prefix)))

    def check(self, _aws: Aws, prefix: str, given: Mapping[str, str]) -> None:
        self.calls.append(("check workers", (prefix, given)))

    def up(self, _aws: Aws, prefix: str, _progress: Progress, **options: Any) -> pipeline.Deployment:
        self.calls.append(("up", (prefix, options["given"], options["at_first"])))
        self.review: Review = options["review"]
        self.stack_options: StackOptions = options["options"]
        self.sweep = options["given"].get("SweepState", self.sweep)
        parameters = {"SenderArns": self.senders, "SweepState": self.sweep}
        return pipeline.Deployment(f"{prefix}order-fulfillment", {"Url": "u"}, parameters, changed=True)

    def workers_up(self, _aws: Aws, prefix: str, _progress: Progress, **options: Any) -> dict[str, str]:
        self.calls.append(("up workers", (prefix, options["given"])))
        assert options["review"] is self.review
        assert options["options"] is self.stack_options
        return {"Cluster": "c"}

    def down(self, _aws: Aws, prefix: str, **options: Any) -> bool:
        self.calls.append(("down", (prefix, options["delete_data"], options["confirm"]())))
        return self.deleted


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(Aws, "from_environment", fake_aws)
    monkeypatch.setattr(preflight, "check", world.preflight("check"))
    monkeypatch.setattr(preflight, "prepare", world.preflight("prepare"))
    monkeypatch.setattr(pipeline, "up", world.up)
    monkeypatch.setattr(pipeline, "down", world.down)
    monkeypatch.setattr(pipeline, "status", lambda _aws, _prefix: world.status)
    monkeypatch.setattr(workers_stack, "check", world.check)
    monkeypatch.setattr(workers_stack, "up", world.workers_up)
    monkeypatch.setattr(stack, "find", world.find)
    monkeypatch.setattr(running, "tasks", lambda _aws, name: Services((Service(f"of-{name}", 1, 2),)))
    monkeypatch.setattr(running, "alarms", lambda _aws, names: Alarms(4, (Alarm(" and ".join(names), "late"),)))
    return world


def options(*parameter: str, **more: Any) -> argparse.Namespace:
    given: dict[str, Any] = {"name_prefix": "p-", "pipeline_only": False, "yes": True, "allow_replacement": False}
    given |= {"delete_data": False, "tag": [], "role_arn": None, "as_json": False}
    return argparse.Namespace(**(given | {"parameter": list(parameter)} | more))


def test_up_gives_tags_and_role_to_both_stacks(world: World) -> None:
    role = "arn:aws:iam::111122223333:role/Deploy"
    assert commands.up(options("Image=i", tag=["Team=orders"], role_arn=role)) == 0
    assert world.stack_options == StackOptions({"Team": "orders"}, role)
    assert world.calls[-1][0] == "up workers"


@pytest.mark.parametrize("wrong", [{"tag": ["Team"]}, {"role_arn": "Deploy"}])
def test_wrong_tags_and_roles_are_refused_before_aws_is_asked(world: World, wrong: dict[str, Any]) -> None:
    with pytest.raises(DeployError, match=r"^--(tag Team|role-arn Deploy): "):
        commands.up(options("Image=i", **wrong))
    assert world.calls == []


def test_up_checks_the_workers_then_deploys_both(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.up(options("Image=i")) == 0
    given = {"Image": "i"}
    stacks = (["p-order-fulfillment", "p-order-fulfillment-workers"], "p-")
    assert world.calls == [
        ("check", stacks),
        ("check workers", ("p-", given)),
        ("prepare", stacks),
        ("up", ("p-", given, {})),
        ("up workers", ("p-", given)),
    ]
    shown = capsys.readouterr()
    assert shown.out == "Cluster  c\nUrl      u\n"
    assert f"own roles): {world.senders}\n" in shown.err
    assert world.review.confirm()
    assert not world.review.allow_replacement


def test_up_of_the_pipeline_alone_lets_its_caller_send(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.senders = ""
    assert commands.up(options(pipeline_only=True, allow_replacement=True)) == 0
    assert world.calls == [
        ("check", (["p-order-fulfillment"], "p-")),
        ("prepare", (["p-order-fulfillment"], "p-")),
        ("up", ("p-", {}, {"SenderArns": f"arn:aws:iam::{ACCOUNT}:user/ann"})),
    ]
    shown = capsys.readouterr()
    assert shown.out == "Url  u\n"
    assert shown.err.startswith("SenderArns is empty: operators and workers elsewhere cannot send to the queues\n")
    assert world.review.allow_replacement


def test_up_enables_the_sweep_once_new_workers_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.sweep, world.images = "PENDING", ["old", "new"]
    assert commands.up(options("Image=new")) == 0
    assert [call for call in world.calls if call[0].startswith("up")] == [
        ("up", ("p-", {"Image": "new"}, {})),
        ("up workers", ("p-", {"Image": "new"})),
        ("up", ("p-", {"Image": "new", "SweepState": "ENABLED"}, {})),
    ]
    assert "The sweep" not in capsys.readouterr().err


def test_new_workers_on_ecs_do_not_enable_the_sweep_if_those_of_an_earlier_release_run_elsewhere(world: World) -> None:
    world.sweep, world.images = "PENDING", [None, "new"]
    assert commands.up(options("Image=new")) == 0
    assert world.sweep == "PENDING"


@pytest.mark.parametrize("more", [{}, {"pipeline_only": True}])
def test_up_that_leaves_the_old_workers_leaves_the_sweep_off_and_says_so(
    world: World, capsys: pytest.CaptureFixture[str], more: dict[str, Any]
) -> None:
    world.sweep = "PENDING"
    assert commands.up(options(**more)) == 0
    assert [name for name, _ in world.calls if name == "up"] == ["up"]
    assert capsys.readouterr().err.endswith(
        "The sweep of stuck orders is off: workers of an earlier release do not know its messages. Once workers of this"
        " release run: python -m deploy up --parameter SweepState=ENABLED\n"
    )


def test_a_sweep_that_a_person_leaves_pending_stays_pending(world: World) -> None:
    """The new image may be of an earlier release."""
    world.images = ["old", "older"]
    assert commands.up(options("Image=older", "SweepState=PENDING")) == 0
    assert world.sweep == "PENDING"


def test_a_sweep_that_a_person_has_switched_off_stays_off(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.sweep, world.images = "DISABLED", ["old", "new"]
    assert commands.up(options("Image=new")) == 0
    assert (world.sweep, "The sweep" in capsys.readouterr().err) == ("DISABLED", False)


@pytest.mark.parametrize(
    "pipeline", [None, {"StackStatus": "ROLLBACK_COMPLETE"}, {"StackStatus": "REVIEW_IN_PROGRESS"}]
)
def test_a_new_system_has_the_sweep_from_the_start(world: World, pipeline: dict[str, Any] | None) -> None:
    world.pipeline, world.workers = pipeline, None
    assert commands.up(options("Image=i")) == 0
    assert dict(world.calls)["up"] == ("p-", {"Image": "i"}, {"SweepState": "ENABLED"})


@pytest.mark.parametrize("missing", ["pipeline", "workers"])
def test_a_system_of_which_a_stack_exists_is_not_new(world: World, missing: str) -> None:
    setattr(world, missing, None)
    assert commands.up(options("Image=i")) == 0
    assert dict(world.calls)["up"] == ("p-", {"Image": "i"}, {})


@pytest.mark.parametrize("parameter", ["Image=x", "Picture=x"])
def test_a_parameter_of_no_deployed_template_is_refused_first(world: World, parameter: str) -> None:
    with pytest.raises(DeployError, match="Unknown parameter"):
        commands.up(options(parameter, pipeline_only=True))
    assert world.calls == []


@pytest.mark.parametrize(("deleted", "code"), [(True, 0), (False, 1)])
def test_down_says_whether_all_is_deleted(world: World, deleted: bool, code: int) -> None:
    world.deleted = deleted
    assert commands.down(options(delete_data=True)) == code
    assert world.calls == [("down", ("p-", True, True))]


def test_status_shows_stacks_contents_tasks_and_alarms(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.workers
    assert commands.status(options()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "p-order-fulfillment  CREATE_COMPLETE  eu-central-1",
        "Url  u",
        "",
        "Orders  1 item",
        "0 running executions",
        "",
        "p-order-fulfillment-workers  UPDATE_COMPLETE",
        "of-p-order-fulfillment-workers  1 of 2 tasks running",
        *ALARMS,
    ]


def test_status_without_workers_shows_no_tasks(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.workers = None
    assert commands.status(options()) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "p-order-fulfillment-workers  -  (not deployed)",
        *ALARMS,
    ]


@pytest.mark.parametrize("deployed", [True, False])
def test_for_scripts_the_status_is_json(world: World, capsys: pytest.CaptureFixture[str], deployed: bool) -> None:
    world.workers = world.workers if deployed else None
    assert commands.status(options(as_json=True)) == 0
    output = capsys.readouterr().out
    check(DEPLOY_STATUS, output)
    document = json.loads(output)
    assert output == f"{json.dumps(document, indent=2)}\n"
    assert (document["outputs"], document["tables"]) == ({"Url": "u"}, [{"name": "Orders", "items": 1, "more": False}])
    service = {"name": "of-p-order-fulfillment-workers", "running": 1, "desired": 2}
    assert (document["workers"] or {}).get("services") == ([service] if deployed else None)


@pytest.mark.parametrize(("prefix", "hint"), [("p-", " --name-prefix p-"), ("", "")])
def test_status_without_a_stack_says_how_to_create_it(world: World, prefix: str, hint: str) -> None:
    world.status = None
    with pytest.raises(DeployError) as raised:
        commands.status(options(name_prefix=prefix))
    assert str(raised.value) == (
        f"There is no stack {prefix}order-fulfillment in eu-central-1. To create it: python -m deploy up{hint}"
    )
