"""A network pruned from a random one that is deeper by a single layer, by copies of neurons."""

from ltjax.experiments.copies.config import Copies
from ltjax.problem.experiment import Experiment

EXPERIMENTS = {"copies": Experiment(config=Copies, home=__name__)}
