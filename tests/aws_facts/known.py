"""
What each implementation of AWS does instead, by the id of the fact: what a check observed.

A deviation that disappears fails the tests as well as a new one. Then remove it here, and look at the code that allowed
for it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.aws_facts.fact import Result

ROOT = Path(__file__).parents[2]

# ministack 1.5.33.
LOCAL_AWS: Mapping[str, object] = {
    "dynamodb.time_to_live_is_enabled_once": ["DISABLED", "ok", "ok", True],
    "sns.a_subject_is_limited": ["ok", "ok", "ok"],
    "sqs.a_dead_letter_queue_names_its_sources": [["InvalidAction"], ["InvalidAction"]],
    "sqs.a_delay_is_at_most_900_seconds": "ok",
    "sqs.a_delete_with_an_older_receipt_succeeds": ["ReceiptHandleIsInvalid"],
    "sqs.a_deleted_message_cannot_be_hidden": "ReceiptHandleIsInvalid",
    "sqs.a_message_has_at_most_ten_attributes": "ok",
    "sqs.a_message_is_hidden_for_12_hours_at_most": "ok",
    "sqs.a_message_may_be_twice_in_a_batch_of_deletes": ["ReceiptHandleIsInvalid", "ok"],
    "sqs.a_name_that_was_just_freed_is_refused": "ok",
    "sqs.a_redrive_allow_policy_is_enforced": "ok",
    "sqs.a_repeated_delete_succeeds": ["ReceiptHandleIsInvalid"],
    "sqs.an_attribute_takes_the_characters_of_a_body": [False, False, False],
    "sqs.an_empty_attribute_is_refused": "ok",
    "sqs.an_older_receipt_changes_the_visibility": "ReceiptHandleIsInvalid",
    "sqs.attributes_count_toward_the_size": ["InvalidParameterValue", "ok"],
    "stepfunctions.a_batch_has_its_items": [0, 0, 0],
    "stepfunctions.a_failed_childs_result_holds_its_input": False,
    "stepfunctions.a_failed_execution_is_redriven": ["InvalidAction", False],
    "stepfunctions.a_metric_without_data_has_no_values": {"values": "", "status": "Complete"},
    "stepfunctions.a_missing_execution_does_not_exist": ["ExecutionDoesNotExist"] * 3,
    "stepfunctions.a_missing_state_machine_does_not_exist": ["StateMachineDoesNotExist", "ok"],
    "stepfunctions.a_name_is_limited": ["ok", "ok"],
    "stepfunctions.a_name_that_was_used_is_refused_by_name": "ExecutionAlreadyExists",
    "stepfunctions.a_running_execution_is_started_again": "ExecutionAlreadyExists",
    "stepfunctions.a_succeed_state_has_an_output": {},
    "stepfunctions.an_execution_times_out": "does not time out",
    "stepfunctions.an_input_is_limited": ["ok", "ok"],
    "stepfunctions.an_invalid_put_has_a_general_error": "DynamoDB.ValidationException",
    "stepfunctions.null_counts_as_one": {"null": 0, "nothing": 0},
}

# moto 5.2.5.
SECOND_SQS: Mapping[str, object] = {
    "sqs.a_batch_has_at_most_ten_entries": "ok",
    "sqs.a_control_character_is_refused": "ok",
    "sqs.a_deleted_message_cannot_be_hidden": "ReceiptHandleIsInvalid",
    "sqs.a_message_has_at_most_ten_attributes": "ok",
    "sqs.a_name_that_was_just_freed_is_refused": "ok",
    "sqs.a_redrive_allow_policy_is_enforced": "ok",
    "sqs.a_redriven_message_names_its_queue": False,
    "sqs.an_attribute_takes_the_characters_of_a_body": [False, False, False],
    "sqs.an_empty_attribute_is_refused": "ok",
    "sqs.attributes_count_toward_the_size": ["InvalidParameterValue", "ok"],
    "sqs.other_characters_outside_xml_are_refused": ["ok", "ok", "ok", "ok"],
}


def problem(result: Result, known: Mapping[str, object]) -> str | None:
    """Return what is unexpected about a result, with the files that rely on the fact; None if nothing is."""
    fact = result.fact
    if result.holds:
        if fact.id not in known:
            return None
        found = "now does what AWS does. Remove it from the known deviations"
    elif fact.id in known and result.observed == known[fact.id]:
        return None
    else:
        usual = f"\n  known:    {known[fact.id]!r}" if fact.id in known else ""
        found = f"does something else:\n  observed: {result.observed!r}\n  AWS:      {fact.expected!r}{usual}"
    files = "\n  ".join(fact.relied_on_by)
    return f"{fact.id}: {fact.statement}\nThis AWS {found}\nRelied on by:\n  {files}\nSource: {fact.source}"


def problems(results: Sequence[Result], known: Mapping[str, object]) -> list[str]:
    return [text for result in results if (text := problem(result, known)) is not None]
