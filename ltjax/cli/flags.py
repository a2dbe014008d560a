"""Types of flags that several commands share, with the help that each shows."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from tyro.conf import arg

Watching = Callable[[int, str, bool], Any]  # trials, criterion, quiet: a context with a watch

PICTURE = "Picture to draw: .pdf, .svg or .png."

File = Annotated[str, arg(metavar="FILE")]
Files = Annotated[
    tuple[str, ...], arg(metavar="FILE [FILE ...]", help="Records.", help_behavior_hint="")
]
NewFile = Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")]
Flag = Annotated[bool, arg(help_behavior_hint="")]
Dim = Annotated[
    int | None,
    arg(metavar="D", help="Input dimension, 8 unless the target says.", help_behavior_hint=""),
]
Epsilons = Annotated[
    tuple[float, ...], arg(metavar="E [E ...]", help="Errors allowed over the unit ball.")
]
Target = Annotated[
    str, arg(help="worst (|w_i| = 1/sqrt(d), mixed signs), random (one, by seed) or a .npy file.")
]
Plugin = Annotated[
    tuple[str, ...],
    arg(
        metavar="FILE [FILE ...]",
        help="Python files of laws and mask rules of your own, to be executed.",
        help_behavior_hint="",
    ),
]
WeightLaw = Annotated[
    str | None,
    arg(
        metavar="LAW",
        help="Law of the random weights: uniform on [-1, 1] unless said, gaussian, hyperbolic, "
        "sign, or one of a plugin.",
        help_behavior_hint="",
    ),
]
MaskRules = Annotated[
    tuple[str, ...],
    arg(
        metavar="RULE [RULE ...]",
        help="Mask rules, in place of the constructions: nearest, flips, subset, or those of a "
        "plugin.",
        help_behavior_hint="",
    ),
]
Rule = Annotated[
    str | None,
    arg(
        metavar="RULE",
        help="What is shown: a rule, or one criterion, as blocks/sup. "
        "By default tight of a neuron, sup of a network.",
        help_behavior_hint="",
    ),
]
Trials = Annotated[int, arg(help="Random networks, in all.")]
All = Annotated[Flag, arg(help="Show every width, not a readable handful.")]
Delta = Annotated[float, arg(help="Failure probability for which the needed width is told.")]
Device = Annotated[
    Literal["auto", "cpu", "gpu", "tpu"], arg(help="Where to run; never falls back.")
]
CompileCache = Annotated[
    str | None,
    arg(
        metavar="DIR",
        help="Where compiled programs are kept, by default in your cache folder; none for nowhere.",
        help_behavior_hint="",
    ),
]
