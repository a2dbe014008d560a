"""A law of weights and mask rules of one's own, for a neuron or a network."""

from ltjax.experiments.own.config import Own
from ltjax.problem.experiment import Experiment

EXPERIMENTS = {"own": Experiment(config=Own, home=__name__)}
