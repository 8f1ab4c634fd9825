"""The report of a run, in Markdown: to decide whether the system may run on this account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.acceptance import costs
from tests.acceptance.account import Account
from tests.acceptance.figures import figures
from tests.acceptance.findings import Findings
from tests.acceptance.markdown import line, table
from tests.acceptance.plan import Plan
from tests.aws_facts.fact import AnyOf, Result
from tests.aws_facts.known import LOCAL_AWS, problem, problems
from tests.aws_facts.runner import ALL_FACTS
from workers.domain.cards import mask

# Kept by AWS itself, without names or costs of ours; nothing can remove them sooner.
KEPT_BY_AWS = (
    "metrics: 15 months; traces of X-Ray: 30 days; CloudFormation's record of deleted stacks: 90 days",
    "its own key `aws/dynamodb`, which it makes when a table is encrypted with it for the first time",
    "API calls in CloudTrail, if the account has it",
    "the resource policy `AWSLogDeliveryWrite20150319` of CloudWatch Logs, which a region's state machines share",
)


# What decides whether the system may run on an account, and is not seen in a run.
NOT_SHOWN = (
    "the workers' stack (`deploy/workers.yaml`): both workers ran on this machine, with the caller's permissions",
    "so neither ECS, nor the tasks' roles, network and image, nor scaling, nor the alarms on the workers' log lines",
    "a key of your own (`KmsKeyArn`), a permissions boundary, and the permissions of operators",
    "that alarms reach people, and that your provider and channels can be reached",
    "more load than these orders: deploy/README.md has the quotas in the order in which they are reached",
)


@dataclass(frozen=True, slots=True)
class Run:
    """What the report is about."""

    account: Account
    plan: Plan
    findings: Findings
    versions: Mapping[str, str]
    log_path: str


def is_known(account: Account, result: Result) -> bool:
    """Return whether this is how the local AWS is known to differ from AWS."""
    return account.is_local and not result.holds and problem(result, LOCAL_AWS) is None


def fact_problems(account: Account, facts: Sequence[Result]) -> list[str]:
    """Return a text for each fact that does not hold here, or that the local AWS does otherwise than is known."""
    known = {result.id: LOCAL_AWS[result.id] for result in facts if account.is_local and result.id in LOCAL_AWS}
    return problems(facts, known)


def render(run: Run) -> str:
    """Return the report. It holds no card numbers, whatever AWS has answered."""
    parts = [
        [f"# Acceptance of order fulfillment on AWS: {verdict(run.findings)}"],
        _about(run),
        _problems(run.findings),
        _steps(run.findings),
        _facts(run),
        _pipeline(run),
        figures(run.plan, run.findings),
        ["## What this run does not show", "", *(f"- {what}" for what in NOT_SHOWN)],
        _costs(run),
        _left_behind(run),
    ]
    return mask("\n\n".join("\n".join(part) for part in parts if part) + "\n")


def verdict(findings: Findings) -> str:
    if findings.removed is None:
        return "not finished"
    if findings.interrupted:
        return "interrupted"
    return "passed" if findings.passed else "failed"


def _about(run: Run) -> list[str]:
    account, findings = run.account, run.findings
    began = datetime.fromtimestamp(findings.began_at, UTC)
    lasted_s = (findings.ended_at or findings.began_at) - findings.began_at
    kind = ". A local AWS, not an account of AWS: smaller, and with known deviations" if account.is_local else ""
    rows = [
        ("date", f"{began:%Y-%m-%d %H:%M:%S} UTC, for {lasted_s:.0f} s"),
        ("account", account.account_id),
        ("caller", f"`{account.caller_arn}`"),
        ("region", account.region),
        ("endpoint", f"{account.endpoint}{kind}"),
        ("prefix of all names", f"`{run.plan.prefix}`"),
        *run.versions.items(),
        ("log of the workers", f"`{run.log_path}`"),
    ]
    return table(("", ""), rows)


def _problems(findings: Findings) -> list[str]:
    failed = [f"{step.name}: {step.ended}" for step in findings.steps if step.ended not in {"done", "running"}]
    found = [*failed, *findings.problems, *(f"left behind: {left}" for left in findings.left)]
    return ["## What is wrong", "", *(f"- {line(text)}" for text in found)] if found else []


def _steps(findings: Findings) -> list[str]:
    rows = [(step.name, step.ended, f"{step.seconds:.1f}") for step in findings.steps]
    return ["## Steps", "", *table(("step", "ended", "seconds"), rows)]


def _facts(run: Run) -> list[str]:
    facts, wanted = run.findings.facts, len(run.plan.facts)
    differing = [result for result in facts if not result.holds]
    known = [result for result in differing if is_known(run.account, result)]
    lines = [
        "## Facts about AWS",
        "",
        f"{len(facts)} of {wanted} were checked{_chosen(wanted)}: {len(facts) - len(differing)} hold, "
        f"{len(differing)} do not"
        + (f"; {len(known)} of these are known deviations of the local AWS." if run.account.is_local else "."),
    ]
    for result in differing:
        lines += ["", *_differing(result, known=result in known)]
    rows = [
        (
            "holds" if result.holds else "differs",
            f"`{result.id}`",
            result.fact.statement + _which(result),
            _files(result),
            _source(result),
        )
        for result in facts
    ]
    if not facts:
        return lines
    return [*lines, "", "### All facts", "", *table(("", "fact", "statement", "relied on by", "source"), rows)]


def _which(result: Result) -> str:
    """Return what was observed, if several things are expected."""
    return f" Observed: `{line(repr(result.observed))}`." if isinstance(result.fact.expected, AnyOf) else ""


def _chosen(wanted: int) -> str:
    return "" if wanted == len(ALL_FACTS) else f" ({len(ALL_FACTS) - wanted} others were left out by FACTS)"


def _differing(result: Result, *, known: bool) -> list[str]:
    fact = result.fact
    unchecked = isinstance(result.observed, str) and result.observed.startswith("error: ")
    outcome = "could not be checked" if unchecked else "does not hold"
    return [
        f"### {fact.id}: {'a known deviation of the local AWS' if known else outcome}",
        "",
        fact.statement,
        "",
        f"- expected: `{line(repr(fact.expected))}`",
        f"- observed: `{line(repr(result.observed))}`",
        f"- relied on by: {_files(result)}",
        f"- source: {_source(result)}",
    ]


def _files(result: Result) -> str:
    return ", ".join(f"`{place}`" for place in result.fact.relied_on_by)


def _source(result: Result) -> str:
    return result.fact.source


def _pipeline(run: Run) -> list[str]:
    findings = run.findings
    if not findings.outputs:
        return ["## The pipeline", "", "It was not deployed."]
    lines = [
        "## The pipeline",
        "",
        "Deployed by `python -m deploy up --pipeline-only --parameter TableProtection=false`.",
        "",
    ]
    lines += table(("output", "value"), [(name, f"`{value}`") for name, value in sorted(findings.outputs.items())])
    counted = ", ".join(f"{count} {kind}" for kind, count in findings.resources.items())
    named = ", ".join(f"{name}={value!r}" for name, value in sorted(findings.parameters.items()))
    lines += ["", f"- parameters: {named}", f"- resources: {counted}"]
    if findings.samples:
        rows = [
            (o.order_id, o.execution_status, " -> ".join(o.states), o.item_status, o.queue, o.worker)
            for o in findings.samples
        ]
        heads = ("sample", "execution", "states entered", "item", "queue", "worker")
        lines += ["", *table(heads, rows)]
    if findings.contents:
        lines += ["", "At the end:", "", *(f"- {text}" for text in findings.contents)]
    return lines


def _costs(run: Run) -> list[str]:
    items = costs.estimate(run.plan)
    rows = [
        (item.what, f"{item.quantity:,.0f}" if item.quantity >= 1 else f"{item.quantity:.4f}", f"{item.cost:.4f}")
        for item in items
    ]
    total = sum(item.cost for item in items)
    free = " A local AWS costs nothing." if run.account.is_local else ""
    return [
        "## Cost",
        "",
        (
            f"At most about ${costs.at_most(items):.2f}, estimated before anything was made. Quantities at most, times "
            f"the prices of {costs.SOURCE}. Doubled, for the dearest regions; without free tiers and taxes.{free}"
        ),
        "",
        *table(("item", "at most", "$ in us-east-1"), [*rows, ("**total**", "", f"**{total:.4f}**")]),
    ]


def _left_behind(run: Run) -> list[str]:
    findings = run.findings
    lines = ["## Left behind", ""]
    if findings.removed is None:
        lines += ["Nothing has been removed yet. If this is still so when the command has ended:", ""]
        return [*lines, "```sh", f"make acceptance CLEAN={run.plan.prefix}", "```"]
    if findings.left:
        lines += [*(f"- {line(left)}" for left in findings.left), ""]
        lines += ["To try again:", "", "```sh", f"make acceptance CLEAN={run.plan.prefix}", "```"]
    else:
        lines += [f"Nothing with the prefix `{run.plan.prefix}`. Removed, with everything in the stacks:", ""]
        lines += [f"- {what}" for what in findings.removed] or ["- nothing: nothing was made"]
    if not run.account.is_local:
        lines += ["", "AWS itself keeps, for all accounts:", "", *(f"- {what}" for what in KEPT_BY_AWS)]
    return lines
