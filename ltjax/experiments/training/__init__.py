"""Tickets found by training, and without: two experiments on the same data and networks."""

from ltjax.experiments.training.config import Imp, Popup
from ltjax.problem.experiment import Experiment

EXPERIMENTS = {
    "imp": Experiment(config=Imp, home=__name__, measured_by="imp"),
    "popup": Experiment(config=Popup, home=__name__, measured_by="popup"),
}
