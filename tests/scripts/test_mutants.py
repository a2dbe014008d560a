"""The list of planted faults fits the code: each has its place, its tests, and is noticed."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import mutants

    return mutants


def test_every_fault_has_its_place_and_its_tests(mutants):
    assert len(mutants.MUTANTS) >= 40
    assert len({m.name for m in mutants.MUTANTS}) == len(mutants.MUTANTS)
    for mutant in mutants.MUTANTS:
        compile(mutants.planted(mutant), mutant.path, "exec")
        for test in mutant.tests.split():
            assert (ROOT / test.partition("::")[0]).is_file(), mutant.name


@pytest.mark.slow
def test_a_fault_is_noticed_and_what_is_none_survives(mutants, monkeypatch, capsys):
    wrong = next(m for m in mutants.MUTANTS if m.name == "a weight may be zero")
    same = wrong._replace(name="none", new=wrong.old.replace("(1)", "(0 + 1)"))
    monkeypatch.setattr(mutants, "MUTANTS", (wrong, same))
    assert mutants.main([]) == 1
    killed, survived, total = capsys.readouterr().out.splitlines()
    assert killed.startswith("killed")
    assert survived.startswith("SURVIVED  none")
    assert total.startswith("2 mutants, 1 killed, 1 survived")
