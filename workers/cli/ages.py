"""An age as an option's value."""

from datetime import timedelta

import click

from workers.operations.ages import parse_age


class Age(click.ParamType[timedelta]):
    """The type of an option like `10m`."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_age(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
