"""What is mutated, and the tests that must see it."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from tests.test_figures import FIGURES

FIGURES_TEST = "tests/test_figures.py::test_figures_are_changed_on_purpose"
# The core: the sample is taken from these folders.
CORE = (
    "workers/aws",
    "workers/consumer",
    "workers/domain",
    "workers/escalation",
    "workers/fulfillment",
    "workers/operations",
)
# `make mutation SINCE=main` takes changed lines of these, `make mutation FRESH=seed` a sample.
ALL = ("workers", "deploy", "lambda")
# The tests of `orders status`, of all its modules.
STATUS = ("tests/workers/operations/test_status.py", "tests/workers/operations/test_status_on_aws.py")
# The tests of the graph's drawings, of all its modules.
GRAPH = tuple(f"tests/workers/console/graph/test_{name}.py" for name in ("layout", "svg", "drawings"))
# The tests of `workers/a/b.py` are `tests/workers/a/test_b.py` and `test_b_properties.py`. Some modules have others.
MORE_TESTS: Mapping[str, tuple[str, ...]] = {
    "workers/aws/case_items.py": ("tests/workers/aws/test_cases.py", "tests/workers/aws/test_cases_requests.py"),
    "workers/aws/cases.py": ("tests/workers/aws/test_cases_requests.py",),
    "workers/aws/status_index.py": ("tests/workers/aws/test_cases_requests.py",),
    "workers/aws/sdk/blocking.py": ("tests/workers/test_proxies.py",),
    "workers/aws/orders.py": ("tests/workers/aws/test_orders_requests.py",),
    "workers/aws/sdk/direct.py": (
        "tests/workers/aws/sdk/test_handover.py",
        "tests/workers/aws/sdk/test_request_log.py",
    ),
    "workers/aws/sdk/tls.py": ("tests/workers/aws/sdk/test_clients.py", "tests/workers/aws/sdk/test_direct.py"),
    "workers/__main__.py": ("tests/workers/test_main.py",),
    "workers/cli/__main__.py": ("tests/workers/cli/test_main.py",),
    "workers/cli/app.py": ("tests/workers/cli/test_main.py", "tests/workers/cli/test_completion.py"),
    "workers/cli/erase.py": ("tests/workers/cli/test_cancel.py",),
    "workers/cli/people.py": ("tests/workers/cli/test_cancel.py",),
    "workers/cli/dead_letter_view.py": (
        "tests/workers/cli/test_dead_letters.py",
        "tests/workers/cli/test_show.py",
        "tests/workers/cli/test_screens.py",
    ),
    "workers/cli/dead_letters.py": ("tests/workers/cli/test_pauses.py",),
    "workers/consumer/message.py": ("tests/workers/consumer/test_consumer.py", "tests/workers/aws/test_sqs.py"),
    "workers/fulfillment/handler.py": ("tests/workers/fulfillment/test_stops.py",),
    "workers/domain/bounds.py": ("tests/workers/domain/test_escalations.py",),
    "workers/domain/cards.py": ("tests/workers/domain/test_submissions.py",),
    "workers/domain/cases.py": ("tests/workers/escalation/test_handler.py",),
    "workers/domain/escalations.py": (
        "tests/workers/escalation/test_handler.py",
        "tests/workers/escalation/test_merging.py",
    ),
    "workers/domain/orders.py": ("tests/workers/fulfillment/test_handler.py", "tests/workers/test_contracts.py"),
    "workers/aws/unreachable.py": ("tests/workers/aws/test_errors.py",),
    "workers/fulfillment/tokens.py": ("tests/workers/fulfillment/test_http_provider.py",),
    "workers/operations/status_index.py": (
        "tests/workers/operations/test_listing.py",
        "tests/workers/operations/test_resolved_cases.py",
    ),
    "workers/operations/search.py": ("tests/workers/operations/test_listing.py",),
    "workers/cli/searching.py": (
        "tests/workers/cli/test_list.py",
        "tests/workers/cli/test_escalations.py",
        "tests/workers/cli/test_vocabulary.py",
    ),
    "workers/cli/case_list.py": ("tests/workers/cli/test_escalations.py",),
    "workers/cli/choices.py": (
        "tests/workers/cli/test_list.py",
        "tests/workers/cli/test_escalations.py",
        "tests/workers/cli/test_dead_letters.py",
        "tests/workers/cli/test_pauses.py",
        "tests/workers/cli/test_completion.py",
        "tests/workers/cli/test_vocabulary.py",
    ),
    "workers/cli/submit.py": ("tests/workers/cli/test_submit_files.py",),
    "workers/cli/submit_view.py": ("tests/workers/cli/test_submit.py", "tests/workers/cli/test_submit_files.py"),
    "workers/operations/json_records.py": (
        "tests/workers/operations/test_order_files.py",
        "tests/workers/operations/test_order_text.py",
    ),
    "workers/operations/ledger.py": (
        "tests/workers/operations/test_order_batch.py",
        "tests/workers/operations/test_submit.py",
    ),
    "workers/operations/records.py": (
        "tests/workers/operations/test_order_files.py",
        "tests/workers/operations/test_order_files_properties.py",
        "tests/workers/operations/test_order_text.py",
    ),
    "workers/operations/lines.py": ("tests/workers/operations/test_lines_properties.py",),
    "workers/operations/status_reader.py": (*STATUS, "tests/workers/operations/test_status_fetch.py"),
    "workers/operations/status_endpoints.py": (*STATUS, "tests/workers/test_service_calls.py"),
    "workers/operations/status_counts.py": STATUS,
    "workers/operations/status_ecs.py": STATUS,
    "workers/operations/status_metrics.py": STATUS,
    "workers/operations/status_needs.py": STATUS,
    "workers/operations/status_workers.py": STATUS,
    "workers/operations/bulk_remedy.py": ("tests/workers/cli/test_bulk.py",),
    "workers/operations/bulk_submit.py": ("tests/workers/operations/test_bulk.py",),
    "workers/operations/groups.py": ("tests/workers/cli/test_escalations.py",),
    "workers/operations/related_cases.py": (
        "tests/workers/operations/test_next_step.py",
        "tests/workers/operations/test_story.py",
    ),
    "workers/consumer/drain.py": ("tests/workers/consumer/test_consumer.py",),
    "workers/console/__main__.py": ("tests/workers/console/test_command.py",),
    "workers/console/app.py": (
        "tests/workers/console/test_requests.py",
        "tests/workers/console/test_static.py",
        "tests/workers/console/test_actions.py",
    ),
    "workers/console/audit.py": ("tests/workers/console/test_actions.py",),
    "workers/console/case_lists.py": ("tests/workers/console/pages/test_cases.py",),
    "workers/console/console.py": (
        "tests/workers/console/test_command.py",
        "tests/workers/console/test_common.py",
        "tests/workers/console/test_requests.py",
    ),
    "workers/console/graph/icons.py": GRAPH,
    "workers/console/graph/labels.py": GRAPH,
    "workers/console/graph/layers.py": GRAPH,
    "workers/console/graph/layout.py": GRAPH,
    "workers/console/graph/lines.py": GRAPH,
    "workers/console/graph/markup.py": GRAPH,
    "workers/console/graph/nodes.py": GRAPH,
    "workers/console/graph/ordering.py": ("tests/workers/console/graph/test_layers.py", *GRAPH),
    "workers/console/graph/placing.py": GRAPH,
    "workers/console/graph/resources.py": (*GRAPH, "tests/workers/console/graph/test_definition.py"),
    "workers/console/graph/routing.py": GRAPH,
    "workers/console/graph/svg.py": GRAPH,
    "workers/console/graph/text.py": GRAPH,
    "workers/console/graph/visits.py": (*GRAPH, "tests/workers/console/graph/test_path.py"),
    "workers/console/live_lists.py": (
        "tests/workers/console/pages/test_cases.py",
        "tests/workers/console/pages/test_orders.py",
    ),
    "workers/console/looks.py": ("tests/workers/console/test_dead_letters.py",),
    "workers/console/main.py": ("tests/workers/console/test_command.py",),
    "workers/console/order_lists.py": ("tests/workers/console/pages/test_orders.py",),
    "workers/console/order_stories.py": ("tests/workers/console/pages/test_orders.py",),
    "workers/console/query.py": ("tests/workers/console/test_requests.py",),
    "workers/console/recent.py": ("tests/workers/console/pages/test_workflow.py",),
    "workers/console/resolving.py": ("tests/workers/console/test_resolve.py",),
    "workers/console/rows.py": (
        "tests/workers/console/test_query.py",
        "tests/workers/console/pages/test_cases.py",
        "tests/workers/console/pages/test_orders.py",
    ),
    "workers/console/security.py": ("tests/workers/console/test_requests.py",),
    "workers/console/server.py": ("tests/workers/console/test_requests.py",),
    "workers/console/system.py": (
        "tests/workers/console/pages/test_overview.py",
        "tests/workers/console/pages/test_queues.py",
    ),
    "workers/console/watched.py": (
        "tests/workers/console/pages/test_executions.py",
        "tests/workers/console/test_inspector.py",
    ),
    "workers/console/pages/acting.py": (
        "tests/workers/console/pages/test_order_actions.py",
        "tests/workers/console/test_actions.py",
        "tests/workers/console/test_resolve.py",
    ),
    "workers/console/pages/common.py": (
        "tests/workers/console/test_common.py",
        "tests/workers/console/pages/test_overview.py",
    ),
    "workers/console/pages/dead_letters.py": ("tests/workers/console/test_dead_letters.py",),
    "workers/console/pages/letter_jobs.py": ("tests/workers/console/test_dead_letters.py",),
    "workers/console/pages/order_actions.py": ("tests/workers/console/test_actions.py",),
    "workers/console/pages/queue_actions.py": ("tests/workers/console/test_actions.py",),
    "workers/console/pages/resolve.py": ("tests/workers/console/test_resolve.py",),
    "workers/consumer/gate.py": ("tests/workers/consumer/test_debug_lines.py",),
    "workers/consumer/output.py": ("tests/workers/consumer/test_lines.py",),
    "workers/domain/characters.py": (
        "tests/workers/domain/test_text_properties.py",
        "tests/workers/aws/test_outgoing.py",
    ),
    "workers/domain/merges.py": ("tests/workers/escalation/test_merging.py",),
    "workers/aws/operations.py": ("tests/workers/test_wiring.py",),
    "workers/bodies.py": ("tests/workers/test_contracts.py", "tests/workers/own/test_handler.py"),
    "workers/dead_letters.py": ("tests/workers/aws/test_senders.py", "tests/workers/operations/test_dead_letters.py"),
    "workers/kinds.py": ("tests/workers/test_settings.py", "tests/workers/test_wiring.py"),
    "workers/log_calls.py": ("tests/workers/test_logs.py", "tests/workers/test_log_values.py"),
    "workers/log_writers.py": ("tests/workers/test_log_output.py",),
    "workers/message.py": ("tests/workers/own/test_loading.py",),
    "workers/cli/dead_letter_confirm.py": ("tests/workers/cli/test_dead_letters.py",),
    "workers/cli/dead_letter_edit.py": ("tests/workers/cli/test_dead_letters.py",),
    "workers/cli/dead_letter_options.py": (
        "tests/workers/cli/test_dead_letters.py",
        "tests/workers/cli/test_vocabulary.py",
    ),
    "workers/cli/dead_letter_work.py": ("tests/workers/cli/test_dead_letters.py",),
    "workers/cli/escalate.py": ("tests/workers/cli/test_unstick.py", "tests/workers/cli/test_pauses.py"),
    "workers/cli/requeue.py": ("tests/workers/cli/test_unstick.py", "tests/workers/cli/test_pauses.py"),
    "workers/cli/paused.py": ("tests/workers/cli/test_pauses.py",),
    "workers/cli/output.py": ("tests/workers/cli/test_tables.py",),
    "workers/cli/options.py": (
        "tests/workers/cli/test_resolve.py",
        "tests/workers/cli/test_escalations.py",
        "tests/workers/cli/test_vocabulary.py",
    ),
    "workers/cli/order_file_options.py": (
        "tests/workers/cli/test_submit.py",
        "tests/workers/cli/test_submit_files.py",
        "tests/workers/cli/test_vocabulary.py",
    ),
    "workers/cli/resolve.py": ("tests/workers/cli/test_resolve_many.py", "tests/workers/cli/test_completion.py"),
    "workers/cli/resolve_one.py": ("tests/workers/cli/test_resolve.py",),
    "workers/cli/status_view.py": ("tests/workers/cli/test_status.py",),
    "workers/operations/order_record.py": ("tests/workers/operations/test_order_files.py",),
    "workers/own/decoding.py": ("tests/workers/own/test_handler.py",),
    "workers/own/opening.py": ("tests/workers/test_opened.py", "tests/workers/own/test_loading.py"),
    "workers/testing/bodies.py": ("tests/workers/testing/test_memory.py",),
    "workers/testing/queues.py": ("tests/workers/testing/test_worker.py",),
    "workers/testing/snapshots.py": ("tests/workers/testing/test_orders.py",),
    "workers/testing/stack.py": ("tests/workers/testing/test_running.py",),
    "workers/testing/testbed.py": ("tests/workers/testing/test_plugin.py",),
    "workers/testing/worker.py": ("tests/workers/testing/test_running.py",),
    "workers/testing/tree.py": ("tests/workers/testing/test_running.py",),
    "workers/tracing/off.py": ("tests/workers/tracing/test_on.py",),
    "workers/tracing/opening.py": ("tests/workers/tracing/test_export.py",),
    "workers/tracing/requests.py": ("tests/workers/tracing/test_on.py",),
    "workers/aws/sdk/http.py": ("tests/workers/aws/sdk/test_handover.py",),
    "workers/aws/sdk/parsing.py": ("tests/workers/aws/sdk/test_direct.py",),
    "workers/aws/sqs.py": ("tests/workers/test_connections.py", "tests/workers/test_wiring.py"),
    "workers/cli/running.py": ("tests/workers/cli/test_dead_letters.py",),
    "workers/cli/tables.py": ("tests/workers/cli/test_status.py",),
    "workers/cli/list.py": ("tests/workers/cli/test_sweep.py",),
    "workers/consumer/consumer.py": ("tests/workers/consumer/test_trials.py",),
    "workers/consumer/poller.py": ("tests/workers/consumer/test_rate.py", "tests/workers/consumer/test_debug_lines.py"),
    "workers/consumer/acknowledger.py": ("tests/workers/consumer/test_debug_lines.py",),
    "workers/consumer/trials.py": ("tests/workers/consumer/test_debug_lines.py",),
    "workers/domain/resolutions.py": ("tests/workers/escalation/test_resolver.py",),
    "workers/escalation/handler.py": ("tests/workers/escalation/test_merging.py",),
    "workers/errors.py": ("tests/workers/test_wiring.py",),
    "workers/metrics.py": ("tests/workers/test_service_calls.py",),
    "workers/operations/actions.py": ("tests/workers/cli/test_dead_letters.py",),
    "workers/operations/cells.py": ("tests/workers/cli/test_rows.py",),
    "workers/operations/dead_letters.py": (
        "tests/workers/operations/test_actions.py",
        "tests/workers/operations/test_order_letters.py",
    ),
    "workers/operations/documents.py": ("tests/workers/operations/test_resolve_many.py",),
    "workers/operations/files/encodings.py": (
        "tests/workers/operations/files/test_findings.py",
        "tests/workers/operations/test_order_files_properties.py",
    ),
    "workers/operations/files/header.py": ("tests/workers/operations/test_order_files.py",),
    "workers/operations/queues.py": ("tests/workers/cli/test_queues.py",),
    "workers/operations/stored_orders.py": ("tests/workers/operations/test_waiting.py",),
    "workers/operations/submit.py": ("tests/workers/cli/test_submit_files.py",),
    "workers/operations/retries.py": ("tests/workers/operations/test_submit.py",),
    "workers/operations/order_batch.py": ("tests/workers/cli/test_submit_files.py",),
    "workers/queue_address.py": ("tests/workers/operations/test_stack.py",),
    "workers/streams.py": ("tests/workers/cli/test_main.py",),
    "workers/testing/children.py": ("tests/deploy/local/test_aws.py",),
    "deploy/__main__.py": ("tests/deploy/test_entry_point.py",),
    "deploy/aws.py": ("tests/workers/test_proxies.py",),
    "deploy/check_languages.py": ("tests/deploy/test_check_state_machine.py",),
    "deploy/command.py": ("tests/deploy/test_arguments.py", "tests/deploy/test_main.py"),
    "deploy/local/emulator.py": ("tests/deploy/local/test_aws.py",),
    "deploy/local/state_lock.py": ("tests/deploy/local/test_aws.py",),
    "deploy/local/console.py": ("tests/deploy/local/test_commands_steps.py", "tests/deploy/local/test_workers.py"),
    "deploy/local/commands.py": ("tests/deploy/local/test_commands_steps.py",),
    "deploy/stacks/events.py": ("tests/deploy/stacks/test_stack.py",),
    "deploy/stacks/stack.py": ("tests/deploy/stacks/test_commands.py",),
    "deploy/stacks/sweep.py": ("tests/deploy/stacks/test_commands.py",),
}


def core_of(files: Iterable[str]) -> list[str]:
    return _below(CORE, files)


def mutable(files: Iterable[str]) -> list[str]:
    return _below(ALL, files)


def suite_of(root: Path, file: str) -> tuple[str, ...]:
    """Return the tests of a module, without any those of its folder; and the test of its figures."""
    path = PurePosixPath(file)
    folder = PurePosixPath("tests", *("lambda_" if part == "lambda" else part for part in path.parent.parts))
    mirrored = (f"{folder}/test_{path.stem}.py", f"{folder}/test_{path.stem}_properties.py")
    found = tuple(test for test in dict.fromkeys((*mirrored, *MORE_TESTS.get(file, ()))) if (root / test).is_file())
    if not found:
        found = tuple(str(test.relative_to(root)) for test in sorted((root / folder).glob("test_*.py")))
    module = ".".join(path.with_suffix("").parts)
    return (*found, f"{FIGURES_TEST}[{module}]") if module in FIGURES else found


def _below(folders: Iterable[str], files: Iterable[str]) -> list[str]:
    starts = tuple(f"{folder}/" for folder in folders)
    return [file for file in files if file.startswith(starts) and file.endswith(".py")]
