"""The JSON documents of commands as schemas, by which tests check every one that a command prints: docs/json.md."""

import json
from collections.abc import Mapping
from typing import Any

from tests.docs.schema import Schema, follows

TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$"
TEXT: Schema = {"type": "string"}
YES_OR_NO: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
TIME: Schema = {"type": "string", "pattern": TIME_PATTERN}
PRICE: Schema = TEXT


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(**fields: Schema) -> Schema:
    """Return the schema of an object with exactly these fields."""
    return {"type": "object", "required": [*fields], "additionalProperties": False, "properties": fields}


_PAUSE = {
    "paused_since_at": maybe(TIME),
    "paused_by": maybe(TEXT),
    "paused_note": maybe(TEXT),
}
_PERSONS = {"name": maybe(TEXT), "item_name": maybe(TEXT), "price": maybe(PRICE), "cc": maybe(TEXT)}
_ORDER_NOW = {
    "order_id": TEXT,
    "status": TEXT,
    **_PERSONS,
    "attempts": COUNT,
    "execution_arn": maybe(TEXT),
    "shipment_id": maybe(TEXT),
    "created_at": maybe(TIME),
    "fulfilled_at": maybe(TIME),
    "cancelled_at": maybe(TIME),
}
_ORDER = _ORDER_NOW | {
    "reasons": many(TEXT),
    "started_at": maybe(TIME),
    "updated_at": maybe(TIME),
    "escalated_at": maybe(TIME),
    "cancelled_by": maybe(TEXT),
    "cancel_note": maybe(TEXT),
    "resolved_by": maybe(TEXT),
    "erased_at": maybe(TIME),
    "erased_by": maybe(TEXT),
    "expires_at": maybe(TIME),
}
_COPY = record(
    order_id=maybe(TEXT),
    status=maybe(TEXT),
    **_PERSONS,
    attempts=COUNT,
    execution_arn=maybe(TEXT),
    shipment_id=maybe(TEXT),
    created_at=maybe(TIME),
)
_EPISODE = {
    "opened_at": maybe(TIME),
    "last_seen_at": maybe(TIME),
    "severity": maybe({"enum": ["info", "warning", "critical"]}),
    "reasons": many(TEXT),
    "sources": many(TEXT),
    "attempts": maybe(COUNT),
    "order": maybe(_COPY),
}
_EVIDENCE = record(
    at=maybe(TIME),
    message_id=TEXT,
    reasons=many(TEXT),
    source=maybe(TEXT),
    detail=maybe(TEXT),
    execution_arn=maybe(TEXT),
    attempts=maybe(COUNT),
    queue=maybe(TEXT),
    origin_message_id=maybe(TEXT),
)
_CASE = {
    "case_id": TEXT,
    "order_id": maybe(TEXT),
    "state": {"enum": ["OPEN", "RESOLVED"]},
    "episode": COUNT,
    **_EPISODE,
    "updated_at": maybe(TIME),
    "first_seen_at": maybe(TIME),
    "execution_arns": many(TEXT),
    "rejected_executions": many(TEXT),
    "message_ids": many(TEXT),
    "evidence": many(_EVIDENCE),
    "channels": many(TEXT),
    "routed": many(record(channel=TEXT, episode=COUNT, at=maybe(TIME), given_up=maybe(TEXT))),
    "resolutions": many(
        record(
            action=TEXT,
            episode=COUNT,
            actor=TEXT,
            note=maybe(TEXT),
            at=maybe(TIME),
            shipment_id=maybe(TEXT),
            execution_arn=maybe(TEXT),
        )
    ),
    "episodes": many(record(number=COUNT, **_EPISODE)),
    "claim": maybe(
        record(actor=TEXT, note=TEXT, at=TIME, episode=COUNT, number=COUNT, order_id=TEXT, execution_arn=TEXT)
    ),
    "merged_into": maybe(TEXT),
    "dropped": maybe(
        record(
            evidence=COUNT,
            message_ids=COUNT,
            execution_arns=COUNT,
            rejected_executions=COUNT,
            routed=COUNT,
            resolutions=COUNT,
            episodes=COUNT,
        )
    ),
}
_CASE_NOW = record(**_CASE, order_now=maybe(record(**_ORDER_NOW)))
_LETTER = {
    "queue": TEXT,
    "id": TEXT,
    "origin_message_id": maybe(TEXT),
    "reason": TEXT,
    "error": maybe(TEXT),
    "order_id": maybe(TEXT),
    "case_id": maybe(TEXT),
    "first_received_at": maybe(TIME),
    "sent_at": maybe(TIME),
    "age_s": maybe(COUNT),
}
_OUTCOMES = many(record(**_LETTER, outcome=TEXT, problem=maybe(TEXT)))
_EXECUTION = record(
    execution_arn=TEXT,
    status=maybe(TEXT),
    states=many(TEXT),
    problem=maybe(TEXT),
    current=YES_OR_NO,
    started_at=maybe(TIME),
    ended_at=maybe(TIME),
    outcome=TEXT,
    has_recorded=YES_OR_NO,
    recorded=maybe(record(at=maybe(TIME), **_PERSONS)),
)
_SEARCHED = record(queue=TEXT, dead_letter_queue=maybe(TEXT), seen=COUNT, approximate_count=COUNT, problem=maybe(TEXT))
_BAD = many(record(line=COUNT, reason=TEXT, order_id=maybe(TEXT), file=TEXT))
_INTAKE = {
    "intake": TEXT,
    "execution_arn": TEXT,
    "status": TEXT,
    "started_at": TIME,
    "ended_at": maybe(TIME),
    "error": maybe(TEXT),
    **dict.fromkeys(("rows", "done", "started", "already_started", "rejected", "not_started"), maybe(COUNT)),
    "unreported": maybe(COUNT),
    "file": maybe(TEXT),
    "unknown": COUNT,
}
_SERVICE = record(name=TEXT, running=COUNT, desired=COUNT)
DEPLOY_STATUS = "deploy status"
# By the words of the command; of `orders`, except for the last one.
SCHEMAS: Mapping[str, Schema] = {
    "submit": record(
        submitted=COUNT,
        already_submitted=COUNT,
        bad_count=COUNT,
        failed_count=COUNT,
        different_count=COUNT,
        bad=_BAD,
        failed=_BAD,
        different=_BAD,
        ended=maybe(
            many(
                record(
                    order_id=TEXT,
                    outcome=TEXT,
                    reasons=many(TEXT),
                    resubmitted=YES_OR_NO,
                    other_submission=YES_OR_NO,
                    problem=maybe(TEXT),
                )
            )
        ),
        intake=maybe(TEXT),
        check=maybe(
            record(
                refusal=maybe(TEXT),
                would_submit=COUNT,
                would_fulfill=COUNT,
                would_escalate=many(
                    record(
                        reasons=many(TEXT),
                        orders=COUNT,
                        first=many(record(line=COUNT, order_id=TEXT, file=TEXT)),
                    )
                ),
                by_status=many(record(status=TEXT, orders=COUNT)),
                not_compared=maybe(TEXT),
            )
        ),
    ),
    "bulk list": many(record(**_INTAKE)),
    "bulk show": record(
        **_INTAKE,
        reported=many(
            record(row=COUNT, outcome={"enum": ["already_started", "rejected", "not_started"]}, fields=many(TEXT))
        ),
    ),
    "list": many(record(**_ORDER)),
    "show": record(
        order=maybe(record(**_ORDER)),
        case=maybe(record(**_CASE)),
        related_cases=many(record(**_CASE)),
        executions=many(_EXECUTION),
        dead_letters=many(record(**_LETTER)),
        dead_letter_queues=many(_SEARCHED),
        timeline=many(record(at=maybe(TIME), source=TEXT, text=TEXT)),
        next=TEXT,
    ),
    "cancel": record(
        order_id=TEXT,
        changed=YES_OR_NO,
        status={"enum": ["CANCELLED"]},
        was=TEXT,
        closed_case=YES_OR_NO,
        open_case=many(TEXT),
        attempts=COUNT,
    ),
    "requeue": record(order_id=TEXT, changed=YES_OR_NO, queue=TEXT, message_id=TEXT),
    "escalate": record(order_id=TEXT, changed=YES_OR_NO, message_id=maybe(TEXT)),
    "erase": record(
        order_id=TEXT,
        changed=YES_OR_NO,
        actor=TEXT,
        erased_at=TIME,
        cases=many(TEXT),
        remains=many(record(where=TEXT, what=TEXT, until=TEXT)),
    ),
    "escalations list": many(_CASE_NOW),
    "escalations list --by": many(
        {
            "anyOf": [
                record(**{by: TEXT}, cases=COUNT, oldest_at=TIME) for by in ("reason", "severity", "source", "status")
            ]
        }
    ),
    "escalations show": _CASE_NOW,
    "escalations resolve": record(
        case_id=TEXT,
        changed=YES_OR_NO,
        order_id=maybe(TEXT),
        state={"enum": ["OPEN", "RESOLVED"]},
        episode=COUNT,
        action=TEXT,
        actor=TEXT,
        at=maybe(TIME),
        execution_arn=maybe(TEXT),
        shipment_id=maybe(TEXT),
    ),
    "escalations resolve --from": many(
        record(
            case_id=TEXT,
            order_id=maybe(TEXT),
            action=TEXT,
            actor=TEXT,
            outcome={"enum": ["resolved", "unchanged", "failed", "not tried", "would be resolved", "would fail"]},
            problem=maybe(TEXT),
        )
    ),
    "status": record(
        at=TIME,
        needs=many(record(text=TEXT, command=TEXT)),
        workers=many(
            record(
                worker=TEXT,
                state={"enum": ["running", "starting", "stopping", "unhealthy", "not running", "unknown"]},
                running=maybe(COUNT),
                desired=maybe(COUNT),
                problem=maybe(TEXT),
                last_poll_at=maybe(TIME),
                messages_per_second=maybe(NUMBER),
                failures=maybe(COUNT),
                failures_since_at=maybe(TIME),
                held=maybe(YES_OR_NO),
                held_by=maybe(TEXT),
                held_since_at=maybe(TIME),
                held_reason=maybe(TEXT),
                release=maybe(TEXT),
            )
        ),
        services=many(
            record(
                service=TEXT,
                state={"enum": ["up", "down", "not called", "unknown"]},
                down_since_at=maybe(TIME),
                last_success_at=maybe(TIME),
                last_error=maybe(TEXT),
                last_error_at=maybe(TIME),
            )
        ),
        queues=many(
            record(
                queue=TEXT,
                depth=maybe(COUNT),
                in_flight=maybe(COUNT),
                delayed=maybe(COUNT),
                oldest_s=maybe(COUNT),
                drained_per_second=maybe(NUMBER),
                empty_in_s=maybe(COUNT),
                dead_letter_queue=maybe(TEXT),
                dead_letters=maybe(COUNT),
                oldest_dead_letter_s=maybe(COUNT),
                paused=maybe(YES_OR_NO),
                **_PAUSE,
            )
        ),
        orders=many(
            record(status=TEXT, orders=maybe(COUNT), at_least=YES_OR_NO, today=YES_OR_NO, oldest_at=maybe(TIME))
        ),
        open_cases=maybe(COUNT),
        severities=many(record(severity=TEXT, cases=COUNT, oldest_at=TIME)),
        cases=many(record(severity=TEXT, reason=TEXT, cases=COUNT, oldest_at=TIME)),
        unknown=many(record(what=many(TEXT), reason=TEXT)),
    ),
    "sweep": maybe(
        record(
            execution_arn=TEXT,
            status=TEXT,
            started_at=maybe(TIME),
            ended_at=maybe(TIME),
            error=maybe(TEXT),
            deferred=maybe({"enum": ["OUTAGE", "AGE_UNKNOWN"]}),
            limit_s=maybe(COUNT),
            queue_age_s=maybe(COUNT),
            received_before_at=maybe(TIME),
            escalated=maybe(many(TEXT)),
            more=maybe(YES_OR_NO),
        )
    ),
    "queues": many(
        record(
            queue=TEXT,
            depth=COUNT,
            in_flight=COUNT,
            delayed=COUNT,
            oldest_s=maybe(COUNT),
            dead_letter_queue=TEXT,
            dead_letters=COUNT,
            oldest_dead_letter_s=maybe(COUNT),
            paused=maybe(YES_OR_NO),
            **_PAUSE,
        )
    ),
    "workers pause": record(queue=TEXT, changed=YES_OR_NO, paused=YES_OR_NO, **_PAUSE),
    "workers resume": record(queue=TEXT, changed=YES_OR_NO, paused=YES_OR_NO, **_PAUSE),
    "dead-letters list": many(record(**_LETTER, body=maybe(TEXT))),
    "dead-letters replay": _OUTCOMES,
    "dead-letters discard": _OUTCOMES,
    DEPLOY_STATUS: record(
        stack=TEXT,
        status=TEXT,
        region=TEXT,
        outputs={"type": "object"},
        tables=many(record(name=TEXT, items=COUNT, more=YES_OR_NO)),
        queues=many(record(name=TEXT, visible=COUNT, in_flight=COUNT, delayed=COUNT)),
        running_executions=COUNT,
        workers=maybe(record(stack=TEXT, status=TEXT, services=many(_SERVICE), problem=maybe(TEXT))),
        alarms=record(total=COUNT, active=many(record(name=TEXT, reason=TEXT)), problem=maybe(TEXT)),
    ),
}
_LINES = "logs"  # Prints the workers' own lines, one document each: docs/logs.md.


def check(command: str, output: str) -> None:
    """Check what `orders <command> --json` has printed: nothing, as after an error, or one document of its schema."""
    if command.startswith(_LINES) or not output:
        return
    document = json.loads(output)
    schema = SCHEMAS[_variant(command, document)]
    assert follows(schema, document), difference(schema, document)


def _variant(command: str, document: Any) -> str:
    """Return the command with the option that makes it print *document* instead of its usual one."""
    if command == "escalations resolve" and isinstance(document, list):
        return f"{command} --from"
    return f"{command} --by" if command == "escalations list" and document and "cases" in document[0] else command


def difference(schema: Schema, value: object, path: str = "") -> str:
    """Say which part of *value* does not follow *schema*."""
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null" and value is not None:
            return difference(option, value, path)
    fields: Mapping[str, Schema] = schema.get("properties", {})
    if isinstance(value, dict) and fields:
        if set(value) != set(fields):
            return f"{path}: missing {sorted(set(fields) - set(value))}, unknown {sorted(set(value) - set(fields))}"
        parts: list[tuple[str, Schema, Any]] = [(name, fields[name], value[name]) for name in fields]
    elif isinstance(value, list) and "items" in schema:
        parts = [(str(place), schema["items"], each) for place, each in enumerate(value)]
    else:
        parts = []
    for name, inner, part in parts:
        if not follows(inner, part):
            return difference(inner, part, f"{path}/{name}")
    return f"{path}: {value!r} is not {schema}"
