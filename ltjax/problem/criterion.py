"""One event whose frequency is counted."""

from typing import NamedTuple


class Criterion(NamedTuple):
    """What is searched, and by what it is judged.

    family: the construction, or whatever else found the ticket.
    rule: how its error is measured.
    monotone: once met at a width, it is met at every larger width of the same draw: its curve is
        the distribution of a first-hit width, and a band over all widths at once holds.
    """

    family: str
    rule: str
    monotone: bool

    @property
    def name(self) -> str:
        return f"{self.family}/{self.rule}"
