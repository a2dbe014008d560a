"""What every curve is asked: how much of it, on what, when to stop, and what to show."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from ltjax.cli.flags import PICTURE, All, CompileCache, Delta, Device, Flag, NewFile, Rule, Watching

# Modules that bring numpy, scipy, jax or matplotlib are imported by the command that needs them:
# help answers at once.


@dataclass(frozen=True)
class Scale:
    """How much, on what, and when to stop."""

    shard: Annotated[
        str | None,
        arg(
            metavar="k/K",
            help="Run the k-th of K shares of the trials; ltjax merge adds up their records.",
            help_behavior_hint="",
        ),
    ] = None
    until_half_width: Annotated[
        float | None,
        arg(
            metavar="H",
            help="Stop once the anytime 95 % interval of the cell reaches H to either side.",
            help_behavior_hint="",
        ),
    ] = None
    until_failures: Annotated[
        int | None,
        arg(metavar="N", help="Stop once N trials failed in the cell.", help_behavior_hint=""),
    ] = None
    at: Annotated[
        tuple[str, int, float] | None,
        arg(
            metavar="CRITERION WIDTH EPSILON",
            help="The cell, as blocks/tight 300 0.1; by default the main rule at the smallest "
            "epsilon and the width of success 1/2.",
            help_behavior_hint="",
        ),
    ] = None
    max_seconds: Annotated[
        float | None,
        arg(metavar="S", help="Begin no batch after S seconds.", help_behavior_hint=""),
    ] = None
    device: Device = "auto"
    memory: Annotated[
        float | None,
        arg(metavar="GIB", help="To use at most, by default half.", help_behavior_hint=""),
    ] = None
    distributed: Annotated[
        str | None,
        arg(
            metavar="HOW",
            help="Run in several processes: auto (TPU pods, Slurm, Open MPI), or HOST:PORT where "
            "the first process listens.",
            help_behavior_hint="",
        ),
    ] = None
    process: Annotated[
        str | None,
        arg(
            metavar="k/K",
            help="Which of how many processes this is, for HOST:PORT; the first writes.",
            help_behavior_hint="",
        ),
    ] = None
    compile_cache: CompileCache = None
    dry_run: Annotated[
        Flag, arg(help="Tell points, trials, memory and time; record and draw nothing.")
    ] = False

    def plan(self, problem) -> dict[str, Any]:
        """Shares, rules and limits, as `api.run` is told of them."""
        from ltjax import api
        from ltjax.counting import plans
        from ltjax.errors import InputError

        asked = self.until_half_width is not None or self.until_failures is not None
        if self.at is not None and not asked:
            raise InputError(f"at must have a rule beside it, --until-..., got {self.at[0]}.")
        rule = self.until_half_width, self.until_failures, self.at
        return {
            "shard": None if self.shard is None else plans.Shard.parse(self.shard),
            "until": api.until(problem, *rule) if asked else None,
            "seconds": math.inf if self.max_seconds is None else self.max_seconds,
            "memory": self.memory,
            "device": self.device,
        }

    def team(self):
        """The processes of this run, joined where asked for."""
        from ltjax.counting import processes
        from ltjax.errors import InputError

        if self.distributed is not None:
            return processes.join(self.distributed, self.process)
        if self.process is not None:
            raise InputError(f"process must have --distributed beside it, got {self.process}.")
        return processes.Alone()


@dataclass(frozen=True)
class Run:
    """How to run it, and what to show of it."""

    seed: Annotated[int, arg(help="0 to 2^32 - 1; the same seed gives the same counts.")] = 0
    out: Annotated[NewFile, arg(help="Record to begin, or to go on with.")] = None
    figure: Annotated[NewFile, arg(help=PICTURE)] = None
    criterion: Rule = None
    all: All = False
    delta: Delta = 0.05
    quiet: Annotated[Flag, arg(help="No progress.")] = False

    def check(self, inputs: Sequence[str] = ()) -> None:
        """All that can be refused is refused before the first trial.

        Args:
            inputs: files that are read, which no output may replace.
        """
        from ltjax.system import files
        from ltjax.validate import check_delta

        check_delta(self.delta)
        if self.figure is not None:
            files.check_output(self.figure, "figure")
            files.check_no_input(self.figure, "figure", inputs)
            from ltjax.results import success_figure  # noqa: F401  refuses what it cannot draw with
        if self.out is not None:
            files.check_no_input(self.out, "out", inputs)
            if self.figure is not None:
                files.check_two_files(self.figure, self.out, "figure and out")

    def __call__(self, problem, trials: int, scale: Scale, watching: Watching) -> Iterator[str]:
        from ltjax import api
        from ltjax.cli import preflight
        from ltjax.counting import plans
        from ltjax.system import devices

        watched, *_ = api.chosen(problem, self.criterion)
        plan = scale.plan(problem)
        devices.use_cores()  # joining the others brings the devices up
        team = scale.team()
        devices.keep_programs(scale.compile_cache)
        if scale.dry_run:
            told = preflight.dry_run(problem, trials, self.out, processes=team.number, **plan)
            team.leave()
            if team.leads:
                yield told
            return
        shard, block = plan["shard"], problem.config.trials_per_shard
        share = plans.share(shard, block, trials) if shard else [(0, trials)]
        mine = sum(stop - start for start, stop in share)
        with watching(mine, watched, self.quiet or not team.leads) as watch:
            tally = api.run(problem, trials, self.out, watch=watch, team=team, **plan)
        if not team.leads:
            return
        yield api.table(tally, self.criterion, self.all, self.delta)
        if self.figure is not None:
            api.plot(tally, self.figure, self.criterion, delta=self.delta)
            yield f"figure: {self.figure}"
        if self.out is not None:
            yield f"record: {self.out}"
