"""What can be asked for: all commands, and here those that draw no curve and read no file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from ltjax.cli.audit import Audit
from ltjax.cli.curve import Curve
from ltjax.cli.flags import CompileCache, Delta, Device, Dim, Epsilons, Target, Watching
from ltjax.cli.records import Merge, Plot, Show
from ltjax.cli.tickets import TicketCommand


@dataclass(frozen=True)
class Width:
    """Tell the width that theory asks for, without drawing anything.

    Try:
      ltjax width --dim 16 --epsilon 0.1 --delta 0.05
    """

    dim: Dim = None
    epsilon: Epsilons = (0.1,)
    delta: Delta = 0.05
    target: Target = "worst"
    seed: Annotated[int, arg(help="Of a random target.")] = 0

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax.experiments.neuron import theory
        from ltjax.experiments.neuron.problems import neuron
        from ltjax.validate import check_delta

        check_delta(self.delta)
        problem = neuron(self.dim, self.epsilon, (1,), self.target, seed=self.seed)
        yield theory.table(problem, self.delta)


@dataclass(frozen=True)
class Check:
    """Tell what this machine offers, and hold its compiled kernels against known answers.

    Try:
      ltjax check
    """

    device: Device = "auto"
    compile_cache: CompileCache = None

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax.system import devices  # first: it says which setting keeps jax from starting

        devices.use_cores()
        kept = devices.keep_programs(self.compile_cache)
        from ltjax.cli import preflight

        yield from preflight.check(self.device)
        yield f"compiled programs: {kept or 'not kept'}"


Command = Curve | Width | Show | Plot | Merge | Check | Audit | TicketCommand
