"""Makes values of the SDK's shapes at random."""

import random
from collections.abc import Callable
from typing import Any

from botocore.model import Shape

TEXTS = ("", "x", "B", "null", '"B":null', "\u5f20\u00e9", "\U0001f600", 'a"b\\c\n\x00\x7f', "arn:aws:states:eu:1:x")
NAMES = ("Id", "B", "BS", "null", "BinaryValue", "\u5f20")


class Maker:
    """
    Makes values of shapes.

    `leaf` makes the value of a shape that is not a structure, list or map. `gap` may replace a member.
    """

    def __init__(self, seed: int, leaf: Callable[[random.Random, Shape], Any], gap: Any = None) -> None:
        self._random = random.Random(seed)
        self._leaf = leaf
        self._gap = gap

    def value(self, shape: Any, depth: int = 0) -> Any:
        chosen = self._random
        if shape.type_name == "structure":
            members = [name for name in shape.members if chosen.random() < (0.7 if depth < 3 else 0.3)]
            if shape.name == "AttributeValue":  # It has one of its members.
                members = [chosen.choice([*shape.members] if depth < 6 else ["S", "N", "B", "NULL"])]
            made = {name: self.value(shape.members[name], depth + 1) for name in members}
            if self._gap is not None and made and chosen.random() < 0.1:
                made[chosen.choice([*made])] = self._gap()
            return made
        if shape.type_name == "list":
            return [self.value(shape.member, depth + 1) for _ in range(chosen.randint(0, 2))]
        if shape.type_name == "map":
            names = chosen.sample(NAMES, chosen.randint(0, 2))
            return {name: self.value(shape.value, depth + 1) for name in names}
        return self._leaf(chosen, shape)
