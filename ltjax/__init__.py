"""ltjax: a Monte Carlo verifier for strong lottery tickets.

    problem = ltjax.neuron(dim=4, epsilons=(0.5, 0.2))
    tally = ltjax.run(problem, trials=5000, out="runs/neuron.jsonl")
    print(ltjax.table(tally))
    ltjax.plot(tally, out="runs/neuron.svg")

Importing the package is light: each name below brings its module with it when first used, and
only what computes brings jax.
"""

__version__ = "0.1.0"

_HOMES = {
    # what is asked
    "neuron": "experiments.neuron.problems",
    "network": "experiments.network.problems",
    "features": "experiments.features.problems",
    "subset": "experiments.subset.problems",
    "imp": "experiments.training.problems",
    "popup": "experiments.training.problems",
    "Problem": "problem.problem",
    "Grid": "problem.problem",
    # what one brings
    "Law": "weights.laws",
    "Uniform": "weights.laws",
    "Gaussian": "weights.laws",
    "mask_rule": "masks.rules",
    "Experiment": "problem.experiment",
    # counts
    "run": "api",
    "sweep": "api",
    "until": "api",
    "load": "counting.records",
    "merge": "counting.records",
    "Tally": "counting.tally",
    # counts beside predictions
    "predict": "api",
    "table": "api",
    "plot": "api",
    "plot_widths": "api",
    "Prediction": "theory.prediction",
    # tickets of a network
    "prune": "tickets.verbs",
    "verify": "tickets.verbs",
    "gap": "tickets.verbs",
    "read_ticket": "tickets.verbs",
    "Ticket": "tickets.archive",
    # claims of the source
    "audit": "audits.ledger",
    "Claim": "audits.claim",
    "InputError": "errors",
}
_MODULES = ("supnorm", "testing", "theory")
__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name):
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"ltjax.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"ltjax.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ltjax' has no attribute {name!r}.")


def __dir__():
    return __all__
