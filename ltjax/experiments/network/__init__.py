"""A target network: what is asked, how it is measured, what is predicted."""

from ltjax.experiments.network.config import Network
from ltjax.problem.experiment import Experiment

EXPERIMENTS = {"network": Experiment(config=Network, home=__name__)}
