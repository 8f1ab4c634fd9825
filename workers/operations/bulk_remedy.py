"""What to do about an intake after which orders may be missing."""

from workers.operations.bulk import EVERY_ROW_REJECTED, FILE_REFUSED, Intake

_ONCE = "no order starts twice"


def remedy(intake: Intake) -> str | None:
    """Return why orders may be missing after an intake, and what to do; None if it runs, or lists all it left out."""
    same, it = (
        ("repeat the command", "repeat the command")
        if intake.file is None
        else ("put the same file there again", "put it there again")
    )
    if intake.is_running or intake.is_complete:
        return None
    if intake.error == FILE_REFUSED:
        return (
            "AWS cannot read the file: it must be CSV (.csv) or JSON lines (.jsonl, .ndjson), in UTF-8. "
            f"Rows before the first that cannot be read may be started; correct it, and {it}: {_ONCE}"
        )
    if intake.error == EVERY_ROW_REJECTED:
        return (
            "no row of the file is an order: CSV needs a header with the names of the fields, and commas between "
            f"values; in JSON lines, each line is an order. Correct it, and {it}"
        )
    if not intake.has_counts:
        return f"not every row may be started; {same}: {_ONCE}"
    if intake.unknown:
        ended = "AWS ended a part of the intake, so it is unknown if these were started"
        return f"{ended}: {intake.unknown} of {intake.rows} rows; {same}: {_ONCE}"
    return f"not started: {intake.not_started} of {intake.rows} rows; {same}: {_ONCE}" if intake.not_started else None
