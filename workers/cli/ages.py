"""The type of command-line options that take an age."""

from datetime import timedelta

import click

from workers.operations.ages import parse_age


class Age(click.ParamType[timedelta]):
    """An option's value that is an age, such as `10m`."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_age(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
