"""ltjax: a Monte Carlo verifier for strong lottery tickets.

    problem = ltjax.neuron(dim=4, epsilons=(0.5, 0.2))
    tally = ltjax.run(problem, trials=5000, out="runs/neuron.jsonl")
    print(ltjax.table(tally))
    ltjax.plot(tally, out="runs/neuron.svg")

Importing the package is light: each name below brings its module with it when first used, and
only `run` brings jax.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "InputError": "errors",
    "Problem": "problem.problem",
    "Tally": "counting.tally",
    "audit": "audits.ledger",
    "load": "counting.records",
    "network": "experiments.network.problems",
    "neuron": "experiments.neuron.problems",
    "plot": "api",
    "predict": "api",
    "run": "api",
    "table": "api",
    "until": "api",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"ltjax.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'ltjax' has no attribute {name!r}.")


def __dir__():
    return sorted([*globals(), *_PUBLIC])
