"""Whole neurons against random features: what is asked, how it is measured, what is predicted."""

from ltjax.experiments.features.config import Features
from ltjax.problem.experiment import Experiment

EXPERIMENTS = {"features": Experiment(config=Features, home=__name__)}
