"""What type checkers see of the names that `__init__.py` brings when they are first used."""

from ltjax import supnorm as supnorm
from ltjax import testing as testing
from ltjax import theory as theory
from ltjax.api import plot as plot
from ltjax.api import plot_widths as plot_widths
from ltjax.api import predict as predict
from ltjax.api import run as run
from ltjax.api import sweep as sweep
from ltjax.api import table as table
from ltjax.api import until as until
from ltjax.audits.claim import Claim as Claim
from ltjax.audits.ledger import audit as audit
from ltjax.counting.records import load as load
from ltjax.counting.records import merge as merge
from ltjax.counting.tally import Tally as Tally
from ltjax.errors import InputError as InputError
from ltjax.experiments.features.problems import features as features
from ltjax.experiments.network.problems import network as network
from ltjax.experiments.neuron.problems import neuron as neuron
from ltjax.experiments.subset.problems import subset as subset
from ltjax.experiments.training.problems import imp as imp
from ltjax.experiments.training.problems import popup as popup
from ltjax.masks.rules import mask_rule as mask_rule
from ltjax.problem.experiment import Experiment as Experiment
from ltjax.problem.problem import Grid as Grid
from ltjax.problem.problem import Problem as Problem
from ltjax.theory.prediction import Prediction as Prediction
from ltjax.tickets.archive import Ticket as Ticket
from ltjax.tickets.verbs import gap as gap
from ltjax.tickets.verbs import prune as prune
from ltjax.tickets.verbs import read_ticket as read_ticket
from ltjax.tickets.verbs import verify as verify
from ltjax.weights.laws import Gaussian as Gaussian
from ltjax.weights.laws import Law as Law
from ltjax.weights.laws import Uniform as Uniform

__version__: str
