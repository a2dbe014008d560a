"""One weight met by a subset sum: what is asked, how it is measured, what is predicted."""

from ltjax.experiments.subset.config import Subset
from ltjax.problem.experiment import Experiment

EXPERIMENTS = {"subset": Experiment(config=Subset, home=__name__)}
