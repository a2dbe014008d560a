"""What the house asks of an experiment: ours keep to it, and one that does not is refused."""

import pytest

import ltjax
from ltjax.errors import InputError
from ltjax.problem import experiment as rooms
from ltjax.problem.experiment import HOME, Config, Experiment, Measured, Theory, experiment

PROBLEMS = {
    "neuron": lambda: ltjax.neuron(dim=2, widths=(4,)),
    "network": lambda: ltjax.network(dim=2, hidden=2, depth=1, blocks=(4,)),
    "features": lambda: ltjax.features(dim=2, count=2, widths=(4,), cap=1.0),
    "imp": lambda: ltjax.imp(data="wine", widths=(4,)),
    "popup": lambda: ltjax.popup(data="wine", widths=(4,)),
    "subset": lambda: ltjax.subset(widths=(4,)),
    "own": lambda: ltjax.neuron(dim=2, widths=(4,), law="gaussian"),
    "copies": lambda: ltjax.network(dim=2, hidden=2, constructions=("copies",), blocks=(4,)),
}


@pytest.mark.parametrize("name", HOME)
def test_an_experiment_has_all_that_the_house_reads(name):
    problem, found = PROBLEMS[name](), experiment(name)
    assert problem.experiment == name
    assert type(problem.config) is found.config
    assert isinstance(problem.config, Config)
    assert isinstance(found.measured, Measured)
    assert isinstance(found.theory, Theory)
    again = type(problem).from_json(problem.to_json())
    assert (again, again.digest()) == (problem, problem.digest())


def test_a_half_that_lacks_a_part_is_refused(monkeypatch):
    monkeypatch.setattr(rooms, "_own", {})

    class Half:
        @staticmethod
        def lanes(config):
            return 1

    whole = experiment("neuron")
    one = Experiment(dict, measured_by=Half, predicted_by=whole.theory)
    with pytest.raises(
        InputError, match=r"experiment mine must have trial, check, settle, got none"
    ):
        one.register("mine")
    with pytest.raises(InputError, match=r"name must not be one of ltjax's, neuron, .* got neuron"):
        one.register("neuron")
    with pytest.raises(InputError, match=r"experiment must be one of neuron, .*, got mine"):
        experiment("mine")
    mine = Experiment(dict, measured_by=whole.measured, predicted_by=whole.theory).register("mine")
    assert experiment("mine") is mine
