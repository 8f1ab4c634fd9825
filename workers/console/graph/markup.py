"""Builds elements of SVG. Texts and attributes are escaped."""

from markupsafe import Markup, escape

Child = Markup | str


def element(name: str, *children: Child, **attributes: object) -> Markup:
    """
    Return an element. `data_state` is the attribute data-state, `class_` is class.

    An attribute that is None is left out. Numbers have at most one decimal.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{shown}>{''.join(map(escape, children))}</{name}>")  # noqa: S704 - Each part is escaped.


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
