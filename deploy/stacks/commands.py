"""`up`, `down` and `status`: both stacks, on the AWS that the environment points to."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import options as stack_options
from deploy.stacks import parameters, pipeline, preflight, running, senders, stack, sweep, template
from deploy.stacks import workers as workers_stack
from deploy.stacks.changes import Review


def up(options: argparse.Namespace) -> int:
    """
    Create or update both stacks, then print their outputs.

    Changes of existing stacks are shown first. If they affect a table or queue, you are asked. Tables that an earlier
    stack left are imported.
    """
    prefix, given, progress = options.name_prefix, parameters.parsed(options.parameter), Progress()
    chosen = stack_options.parsed(options.tag, options.role_arn)
    pipeline_only = options.pipeline_only
    sources = {pipeline.stack_name(prefix): template.load(template.PIPELINE)}
    if not pipeline_only:
        sources[workers_stack.stack_name(prefix)] = template.load(template.WORKERS)
    parameters.check(given, prefix, list(sources.values()))
    aws = Aws.from_environment()
    review = Review(
        lambda: _confirmed("Make these changes?", "changed", yes=options.yes),
        allow_replacement=options.allow_replacement,
    )
    preflight.check(aws, sources, prefix)
    if not pipeline_only:
        workers_stack.check(aws, prefix, given)
    preflight.prepare(aws, sources, prefix, progress)
    # With --pipeline-only, workers run elsewhere, not on ECS. At first, only the caller's own workers may send to the
    # queues.
    workers = stack.find(aws, workers_stack.stack_name(prefix))
    at_first = {senders.PARAMETER: senders.caller(aws)} if pipeline_only else {}
    earlier = stack.exists(stack.find(aws, pipeline.stack_name(prefix))) or stack.exists(workers)
    at_first |= sweep.at_first(is_new=not earlier)

    def pipeline_up(given: Mapping[str, str]) -> pipeline.Deployment:
        return pipeline.up(aws, prefix, progress, given=given, at_first=at_first, review=review, options=chosen)

    deployment = preflight.once_queue_names_are_free(lambda: pipeline_up(given), progress)
    named = deployment.parameters.get(senders.PARAMETER)
    if named:
        progress.note(f"{senders.PARAMETER} (who may send to the queues, besides the system's own roles): {named}")
    else:
        progress.note(f"{senders.PARAMETER} is empty: operators and workers elsewhere cannot send to the queues")
    outputs = {**deployment.outputs}
    if not pipeline_only:
        outputs |= workers_stack.up(aws, prefix, progress, given=given, review=review, options=chosen)
        replaced = stack.find(aws, workers_stack.stack_name(prefix))
        due = sweep.is_due(deployment.parameters, stack.parameters(workers), stack.parameters(replaced))
        if due and sweep.PARAMETER not in given:
            deployment = pipeline_up({**given, sweep.PARAMETER: sweep.ENABLED})
    if note := sweep.pending_note(deployment.parameters):
        progress.note(note)
    _print_outputs(outputs)
    return 0


def down(options: argparse.Namespace) -> int:
    """List both stacks, the tables and the uploads, then delete them. Refuses if data would be lost."""
    _check_prefix(options.name_prefix)
    done = pipeline.down(
        Aws.from_environment(),
        options.name_prefix,
        delete_data=options.delete_data,
        confirm=lambda: _confirmed("Delete all of it?", "deleted", yes=options.yes),
        progress=Progress(),
    )
    return 0 if done else 1


def status(options: argparse.Namespace) -> int:
    """
    Show the stacks and their outputs, the contents of tables and queues, running tasks, and active alarms.

    The exit code is 1 if there is no pipeline.
    """
    _check_prefix(options.name_prefix)
    aws, prefix = Aws.from_environment(), options.name_prefix
    name = pipeline.stack_name(prefix)
    found = pipeline.status(aws, prefix)
    if found is None:
        named = f" --name-prefix {prefix}" if prefix else ""
        raise DeployError(f"There is no stack {name} in {aws.region}. To create it: python -m deploy up{named}")
    workers_name = workers_stack.stack_name(prefix)
    workers = stack.find(aws, workers_name)
    tasks = running.tasks(aws, workers_name) if workers else None
    alarms = running.alarms(aws, (name, workers_name))
    if options.as_json:
        services = {} if tasks is None else asdict(tasks)
        document = {
            "stack": name,
            "status": found.stack_status,
            "region": aws.region,
            "outputs": dict(found.outputs),
            **asdict(found.contents),
            "workers": {"stack": workers_name, "status": workers["StackStatus"], **services} if workers else None,
            "alarms": asdict(alarms),
        }
        print(json.dumps(document, indent=2))
        return 0
    print(f"{name}  {found.stack_status}  {aws.region}")
    _print_outputs(found.outputs)
    print()
    for line in found.contents.lines():
        print(line)
    print()
    print(f"{workers_name}  {workers['StackStatus'] if workers else '-  (not deployed)'}")
    for line in (*(tasks.lines() if tasks else ()), *alarms.lines()):
        print(line)
    return 0


def _check_prefix(name_prefix: str) -> None:
    parameters.check({}, name_prefix, [template.load(template.PIPELINE)])


def _confirmed(question: str, done: str, *, yes: bool) -> bool:
    """Ask the user. Raises `DeployError` if there is no terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise DeployError(f"Nothing was {done}: there is no terminal to ask for confirmation. To confirm: --yes")
    print(f"{question} Type yes: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"


def _print_outputs(outputs: Mapping[str, str]) -> None:
    width = max((len(name) for name in outputs), default=0)
    for name, value in sorted(outputs.items()):
        print(f"{name:<{width}}  {value}")
    if not outputs:
        print("-  (no outputs)")
