"""The type of command-line options that take a reason."""

import click

from workers.domain.reasons import Reason


class ReasonName(click.ParamType[str]):
    """A reason, in upper or lower case."""

    name = "reason"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        reason = value.upper()
        if reason not in list(Reason):
            self.fail(f"{value!r} must be one of {', '.join(Reason)}", param, ctx)
        return reason
