"""One target neuron: what is asked, how it is measured, what is predicted."""

from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.experiment import Experiment

EXPERIMENTS = {"neuron": Experiment(config=Neuron, home=__name__)}
