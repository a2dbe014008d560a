"""One node of a graph: what it is given, and how it is refused."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import numpy as np

from ltjax.errors import InputError
from ltjax.system.files import as_finite, shown

MOST_NUMBERS = 2**25  # of one tensor of coefficients: 256 MiB

WHOLE = ("int", "uint", "bool")  # how names of types begin, those of ml_dtypes too

Value = TypeVar("Value")


@dataclass(frozen=True)
class Node:
    """A node of a graph, all of whose inputs but one are constants.

    network: what it is for, in messages.
    name: of the node, or of its outputs where it has none.
    operator: of the default domain.
    inputs: names of its inputs; empty where one is left out.
    constants: of each input its values; None of the one that is none, or left out.
    flowing: which of the inputs is no constant; -1 where all are.
    attributes: by name.
    """

    network: str
    name: str
    operator: str
    inputs: Sequence[str]
    constants: Sequence[np.ndarray | None]
    flowing: int
    attributes: Mapping[str, Any]
    read: set[str] = field(default_factory=set)

    def refuse(self, rule: str, found: str = "") -> NoReturn:
        where = f"node {shown(self.name)} of operator {shown(self.operator)}"
        found = f"{found} in {where}" if found else where
        raise InputError(f"{self.network} must {rule}, got {found}.")

    def attribute(self, name: str, otherwise: Value) -> Value:
        """An attribute, or what holds where it is left out, of one type."""
        self.read.add(name)
        found = self.attributes.get(name, otherwise)
        alike = type(found) is type(otherwise)
        if alike and isinstance(found, list) and isinstance(otherwise, list):
            alike = len({type(item) for item in (*found, *otherwise)}) <= 1
        if not alike:
            self.refuse(f"have {name} of the type of {otherwise!r}", type(found).__name__)
        return found

    def expect(self, name: str, value: int) -> None:
        """Refuse the node unless an attribute has this value, or is left out."""
        found = self.attribute(name, value)
        if found != value:
            self.refuse(f"have {name} = {value}", str(found))

    def check_attributes(self) -> None:
        """Refuse a node with an attribute that nobody has read: it may change what is computed."""
        if unread := sorted(set(self.attributes) - self.read):
            self.refuse("have no attributes unknown here", shown(unread[0]))

    def constant(self, i: int) -> np.ndarray | None:
        """Input i as it is, None where it is left out; refused where it is no constant."""
        if i == self.flowing:
            self.refuse("have that input constant", shown(self.inputs[i]))
        return self.constants[i] if i < len(self.constants) else None

    def given(self, i: int) -> np.ndarray:
        """Input i as it is, which must be there."""
        values = self.constant(i)
        if values is None:
            self.refuse("have all of its inputs", f"none at place {i}")
        return values

    def weights(self, i: int) -> np.ndarray:
        """Input i as finite numbers in float64."""
        values = self.given(i)
        if values.dtype.name.startswith(WHOLE):
            self.refuse(
                "have a scale for tensors of whole numbers, by DequantizeLinear",
                f"{values.dtype} in {shown(self.inputs[i])}",
            )
        return as_finite(values, self.network, f"tensor {shown(self.inputs[i])}")

    def whole(self, i: int) -> list[int]:
        """Input i as a list of whole numbers: a shape, or axes."""
        values = self.given(i)
        if values.dtype.kind not in "iu" or values.ndim > 1:
            self.refuse("have a list of whole numbers", shown(self.inputs[i]))
        return [int(v) for v in np.atleast_1d(values)]

    def check_size(self, count: int, shape: Sequence[int]) -> None:
        """Refuse the node where so many tensors of a shape would fill the memory, or are none."""
        size = count * math.prod(shape)
        if not 0 < size <= MOST_NUMBERS:
            self.refuse(f"unroll to matrices of 1 to {MOST_NUMBERS:,} numbers", f"{size:,}")
