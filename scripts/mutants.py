"""Planted faults: one line of the package made wrong, and the tests that must notice.

Each mutant is applied to a copy of the checkout, where the tests named for it run until the first
failure. A mutant that they pass has survived: a line whose fault nobody would see. Prints a line
for each; exits with 1 if one survives.

    python scripts/mutants.py                      # all of them, some ten minutes on two cores
    python scripts/mutants.py --only tree relax    # those whose names contain one of the words
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = "ltjax", "scripts", "tests", "docs", "figures", "pyproject.toml", "README.md"
LIMIT = 600.0  # seconds for the tests of a mutant; one that hangs them is noticed, too
FAILED, NONE_RAN = 1, 5  # exit codes of pytest


class Mutant(NamedTuple):
    """A fault to plant.

    name: what is wrong, in a few words.
    path: the module, below the root.
    old, new: the text there, which stands in it once, and what takes its place.
    tests: what must notice, as pytest is told: files, or single tests.
    """

    name: str
    path: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "biases: that of the first layer dropped",
        "ltjax/supnorm/posing.py",
        "(w @ region.middle + b) / domain.constant",
        "(w @ region.middle) / domain.constant",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "biases: the centre ignored",
        "ltjax/supnorm/posing.py",
        "(w @ region.middle + b) / domain.constant",
        "b / domain.constant",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "biases: a constant that is 1 from the first",
        "ltjax/supnorm/posing.py",
        "np.array([1.0, 0.0, 8.0 * ULP]) / domain.constant",
        "np.array([1.0, 0.0, 8.0 * ULP])",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "biases: a point whose constant is free",
        "ltjax/networks/domains.py",
        " & (x[..., -1, :] == within.constant)",
        "",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "biases: a chord that cuts relu",
        "ltjax/supnorm/linear.py",
        "np.maximum(np.maximum(-slope * low, (1.0 - slope) * high), 0.0)",
        "0.5 * np.maximum(np.maximum(-slope * low, (1.0 - slope) * high), 0.0)",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "biases: half a cell lost where it is halved",
        "ltjax/supnorm/splitting.py",
        "high[here, at] += half[here, at]",
        "high[here, at] += 2.0 * half[here, at]",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "biases: the constant of the relaxation left free",
        "ltjax/supnorm/moments.py",
        "found.append(of_v[plus[-1:]] - asked.domain.constant * of_v[:1])",
        "pass",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "biases: a piece that is never 0 left out of the sets",
        "ltjax/supnorm/max_min.py",
        "np.tile(always.astype(np.float64),",
        "np.tile(never.astype(np.float64),",
        "tests/supnorm/test_domains.py",
    ),
    Mutant(
        "the last round constant of the cipher dropped",
        "ltjax/weights/draws.py",
        "x1 = x1 + (schedule[(i + 2) % 3] + np.uint32(i + 1))",
        "x1 = x1 + (schedule[(i + 2) % 3] + np.uint32(i))",
        "tests/weights/test_draws.py",
    ),
    Mutant(
        "odd words taken for even ones",
        "ltjax/weights/draws.py",
        "index >> np.uint32(1))",
        "index)",
        "tests/weights/test_draws.py",
    ),
    Mutant(
        "theta of many pairs beyond 1",
        "ltjax/supnorm/max_min.py",
        "low, high, tau = -taken, 1.0 - taken, np.array(tau)",
        "low, high, tau = -taken, 1.5 - taken, np.array(tau)",
        "tests/supnorm/test_sets.py",
    ),
    Mutant(
        "f - g forgotten on the device",
        "ltjax/supnorm/sets.py",
        "signed = jnp.stack([q, -q])",
        "signed = jnp.stack([q, q])",
        "tests/supnorm/test_sets.py",
    ),
    Mutant(
        "one sign of an input branched twice, for many pairs",
        "ltjax/supnorm/sets.py",
        "for off in (at, at + d):",
        "for off in (at, at):",
        "tests/supnorm/test_sets.py",
    ),
    Mutant(
        "no slab where the other gate is open",
        "ltjax/supnorm/layered.py",
        "return (nets.v.T @ on_g + nets.u.T @ on_f + self.beside(slabs)) * self.mask",
        "return (nets.v.T @ on_g + nets.u.T @ on_f) * self.mask",
        "tests/supnorm/test_layered.py",
    ),
    Mutant(
        "a multiplier below zero",
        "ltjax/supnorm/layered.py",
        "more = np.maximum(before + _least(q, row, self.nets.noise[j]), 0.0)",
        "more = before + _least(q, row, self.nets.noise[j])",
        "tests/supnorm/test_layered.py",
    ),
    Mutant(
        "a slab that forgets what the layers below differ by",
        "ltjax/supnorm/layered.py",
        "positive(s * change) @ most + positive(w) @ this + positive(-w) @ that",
        "positive(s * change) @ most",
        "tests/supnorm/test_layered.py",
    ),
    Mutant(
        "a tree of gates that forgets what is not given yet",
        "ltjax/supnorm/layered.py",
        "bound = _outwards(_norm(q + rest[:, whose]), self.nets)",
        "bound = _outwards(_norm(q), self.nets)",
        "tests/supnorm/test_layered.py",
    ),
    Mutant(
        "slots that share a weight taken for independent",
        "ltjax/theory/layer_pools.py",
        "found += [(added, b[i, j], no + sides),",
        "found += [(added, chance[active][i] * chance[active][j], no + sides),",
        "tests/theory/test_layer_pools.py",
    ),
    Mutant(
        "a pool's least largest error read off slots alone",
        "ltjax/experiments/network/host.py",
        "return float(assignment.bottleneck(lists, empty)[0])",
        "return float(max(min([e, *error[slot == i]]) for i, e in enumerate(empty)))",
        "tests/experiments/test_network_pool.py",
    ),
    Mutant(
        "a pilot blind to one side",
        "ltjax/experiments/network/pilot.py",
        "sides = (1.0, -1.0) if layer == 0 else (1.0,)",
        "sides = (1.0, 1.0) if layer == 0 else (1.0,)",
        "tests/experiments/test_pilot.py",
    ),
    Mutant(
        "a weight may be zero",
        "ltjax/weights/draws.py",
        "((word >> np.uint32(7)) | np.uint32(1))",
        "(word >> np.uint32(7))",
        "tests/weights/test_draws.py",
    ),
    Mutant(
        "the matching forgets that rivals must move",
        "ltjax/masks/matching.py",
        "forced = jnp.maximum(jnp.minimum(*start[1:]), 0) & ~low_bits",
        "forced = jnp.maximum(jnp.maximum(*start[1:]), 0) & ~low_bits",
        "tests/masks/test_matching.py",
    ),
    Mutant(
        "two slots may keep one neuron",
        "ltjax/masks/matching.py",
        "choice = jnp.where(worst > following, ranks, choice)",
        "choice = jnp.where(worst > following, choice, choice)",
        "tests/masks/test_matching.py",
    ),
    Mutant(
        "a neuron outside the pool searched",
        "ltjax/masks/layer_pool.py",
        "jnp.where(inside, hidden, jnp.inf)",
        "jnp.where(inside, hidden, hidden)",
        "tests/masks/test_layer_pool.py",
    ),
    Mutant(
        "the chunk that a width cuts kept for the next",
        "ltjax/masks/layer_pool.py",
        "chunk >= first)",
        "chunk >= begin)",
        "tests/masks/test_layer_pool.py",
    ),
    Mutant(
        "a list of a pool too short and not made longer",
        "ltjax/masks/assignment.py",
        "short = blamed[lists.floor[blamed] < most]",
        "short = blamed[:0]",
        "tests/masks/test_assignment.py",
    ),
    Mutant(
        "any ticket with the least largest error",
        "ltjax/masks/assignment.py",
        "(error / (most or 1.0)) ** 2",
        "0.0 * (error / (most or 1.0)) ** 2",
        "tests/masks/test_assignment.py",
    ),
    Mutant(
        "two slots of a pool that name one neuron",
        "ltjax/tickets/archive.py",
        "np.any(counts > 1) else -1",
        "np.any(counts > 2) else -1",
        "tests/tickets/test_tickets.py",
    ),
    Mutant(
        "the last of a step's surplus trials counted",
        "ltjax/counting/engine.py",
        "trials = np.arange(start, min(start + size, stop))",
        "trials = np.arange(start, start + size)",
        "tests/counting/test_engine.py",
    ),
    Mutant(
        "a tie is refuted",
        "ltjax/counting/engine.py",
        "certified = sum((upper <= epsilon)",
        "certified = sum((upper < epsilon)",
        "tests/counting/test_engine.py tests/experiments/test_neuron.py",
    ),
    Mutant(
        "a broken trial counts as a success",
        "ltjax/counting/engine.py",
        "certified=_at_least(certified[~broken], len(epsilons)),",
        "certified=_at_least(certified, len(epsilons)),",
        "tests/counting/test_engine.py",
    ),
    Mutant(
        "a device repeats the trials of the first",
        "ltjax/counting/engine.py",
        'jax.lax.axis_index("trials").astype(np.uint32) * np.uint32(lanes)',
        'jax.lax.axis_index("trials").astype(np.uint32) * np.uint32(0)',
        "tests/counting/test_engine.py",
    ),
    Mutant(
        "epsilon rounded to the nearest float32",
        "ltjax/counting/engine.py",
        "np.where(single > np.float64(epsilons), np.nextafter(single, np.float32(0)), single)",
        "np.where(single > np.float64(epsilons), single, single)",
        "tests/experiments/test_slack.py",
    ),
    Mutant(
        "Clopper and Pearson's upper end a count low",
        "ltjax/counting/intervals.py",
        "special.betaincinv(s + 1.0, np.maximum(n - s, 1.0), 1.0 - half)",
        "special.betaincinv(s, np.maximum(n - s, 1.0), 1.0 - half)",
        "tests/counting/test_stats.py",
    ),
    Mutant(
        "an interval of alpha where alpha / 2 is due",
        "ltjax/counting/intervals.py",
        "half = np.asarray(alpha, np.float64) / 2.0",
        "half = np.asarray(alpha, np.float64)",
        "tests/counting/test_stats.py",
    ),
    Mutant(
        "Massart's constant lost",
        "ltjax/counting/intervals.py",
        "np.log(2.0 / np.asarray(alpha)) / (2.0 * np.asarray(trials))",
        "np.log(1.0 / np.asarray(alpha)) / (2.0 * np.asarray(trials))",
        "tests/counting/test_stats.py",
    ),
    Mutant(
        "the bar of the martingale without alpha",
        "ltjax/counting/intervals.py",
        "- special.betaln(0.5, 0.5) + np.log(alpha)",
        "- special.betaln(0.5, 0.5) + 0.5 * np.log(alpha)",
        "tests/counting/test_stats.py",
    ),
    Mutant(
        "a needed width starts a neuron late",
        "ltjax/counting/intervals.py",
        "low = int(ks[small[-1]]) + 1 if len(small) else None",
        "low = int(ks[small[-1]]) + 2 if len(small) else None",
        "tests/counting/test_stats.py",
    ),
    Mutant(
        "all bands share one curve's error rate",
        "ltjax/results/estimates.py",
        "intervals.dkw_band(ends, trials, ALPHA / curves)",
        "intervals.dkw_band(ends, trials, ALPHA)",
        "tests/results/test_plots.py tests/results/test_report.py",
    ),
    Mutant(
        "a band for one width drawn for all",
        "ltjax/results/estimates.py",
        "_around(one.tally, name, ALPHA / (curves * len(one.widths)))",
        "_around(one.tally, name, ALPHA / curves)",
        "tests/results/test_plots.py tests/results/test_charts.py",
    ),
    Mutant(
        "undecided trials left out of an interval",
        "ltjax/results/estimates.py",
        "return least, least + tally.undecided[tally.criterion(name)]",
        "return least, least",
        "tests/results/test_plots.py tests/results/test_charts.py",
    ),
    Mutant(
        "the product's density twice too high",
        "ltjax/theory/product.py",
        "return np.asarray(0.25 * (",
        "return np.asarray(0.5 * (",
        "tests/theory/test_theory.py",
    ),
    Mutant(
        "both slots taken for independent",
        "ltjax/theory/partition.py",
        "failure = 2.0 * empty - np.exp(m * np.log1p(-2.0 * p))",
        "failure = 2.0 * empty - np.exp(2.0 * m * np.log1p(-p))",
        "tests/theory/test_theory.py",
    ),
    Mutant(
        "tight's tolerance without its root",
        "ltjax/theory/layers.py",
        "norm = float(np.expm1(np.log1p(epsilon) / depth))",
        "norm = float(epsilon / depth)",
        "tests/theory/test_theory_layers.py",
    ),
    Mutant(
        "later layers asked for both sides",
        "ltjax/theory/layers.py",
        "laws = [pool.shared_law(column, eta, sides=2 if first else 1)",
        "laws = [pool.shared_law(column, eta, sides=2)",
        "tests/theory/test_theory_layers.py",
    ),
    Mutant(
        "a difference that takes g's layer for f's",
        "ltjax/networks/pairs.py",
        "dz = weights @ dh + errors[..., 0, :, :] @ (h + dh)",
        "dz = weights @ dh + errors[..., 0, :, :] @ h",
        "tests/networks/test_networks.py tests/supnorm/test_certificate.py",
    ),
    Mutant(
        "a neuron acts on the wrong side",
        "ltjax/tickets/verifying.py",
        "enumerate((True, False)[: len(matrix)])",
        "enumerate((False, True)[: len(matrix)])",
        "tests/tickets/test_tickets.py",
    ),
    Mutant(
        "a neuron that both sides name counted twice",
        "ltjax/tickets/verifying.py",
        "counted[1:] &= kept[1:] != kept[:-1]",
        "counted[1:] &= kept[1:] == kept[1:]",
        "tests/tickets/test_tickets.py",
    ),
    Mutant(
        "a batch recorded beyond its plan",
        "ltjax/counting/tally.py",
        "if not 0 <= batch.start < batch.stop <= planned:",
        "if not 0 <= batch.start < batch.stop:",
        "tests/counting/test_records.py",
    ),
    Mutant(
        "a trial counted twice",
        "ltjax/counting/tally.py",
        "if span.start < batch.stop and batch.start < span.stop:",
        "if span.start < batch.stop and batch.start < span.start:",
        "tests/counting/test_records.py tests/counting/test_merge.py",
    ),
    Mutant(
        "a line's checksum not looked at",
        "ltjax/counting/records.py",
        "if sealed != line:",
        "if len(sealed) != len(line):",
        "tests/counting/test_records.py",
    ),
    Mutant(
        "a rule looks only at certified trials",
        "ltjax/counting/plans.py",
        "most = least + int(tally.undecided[cell])",
        "most = least",
        "tests/counting/test_plans.py",
    ),
    Mutant(
        "a share's stride off by one",
        "ltjax/counting/plans.py",
        "range((shard.number - 1) * block, trials, shard.of * block)",
        "range((shard.number - 1) * block, trials, (shard.of + 1) * block)",
        "tests/counting/test_plans.py",
    ),
    Mutant(
        "neurons beyond the sets tried not paid for",
        "ltjax/supnorm/certificate.py",
        "bound = bound + _length(r, -1, xp) * scaled / 2",
        "bound = bound + 0.0 * scaled",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "part of a plan taken for the whole of it",
        "ltjax/counting/tally.py",
        " or self.ranges != ((0, planned[0]),)",
        "",
        "tests/counting/test_looks.py",
    ),
    Mutant(
        "a plan that nothing was run under counts",
        "ltjax/counting/tally.py",
        "for plan in self._run or self.plans)",
        "for plan in self.plans)",
        "tests/counting/test_looks.py",
    ),
    Mutant(
        "a smaller plan not written down",
        "ltjax/counting/records.py",
        "if self._plan != self._ledger.plan:",
        "if self._plan.planned > self._ledger.plan.planned:",
        "tests/counting/test_looks.py",
    ),
    Mutant(
        "an interval of the wrong plan",
        "ltjax/results/estimates.py",
        "interval = intervals.anytime if tally.anytime else intervals.clopper_pearson",
        "interval = stats.clopper_pearson",
        "tests/counting/test_looks.py",
    ),
    Mutant(
        "a needed width with twice its error rate",
        "ltjax/results/estimates.py",
        "(2 if tally.anytime else 1) if monotone",
        "1 if monotone",
        "tests/counting/test_looks.py",
    ),
    Mutant(
        "a table's bands for one curve each",
        "ltjax/results/tables.py",
        "estimate(one, name, curves) for name",
        "estimate(one, name, 1) for name",
        "tests/results/test_bands.py",
    ),
    Mutant(
        "a figure's bands forget its panels",
        "ltjax/results/success_figure.py",
        "curves=len(criteria) * count_curves(series))",
        "curves=count_curves(series))",
        "tests/results/test_bands.py",
    ),
    Mutant(
        "a width at the level taken for too small",
        "ltjax/counting/intervals.py",
        "np.flatnonzero(band.high < success)",
        "np.flatnonzero(band.high <= success)",
        "tests/counting/test_stats.py",
    ),
    Mutant(
        "a ticket chooses its own scales",
        "ltjax/tickets/scales.py",
        "if scale > most:",
        "if scale > most and False:",
        "tests/tickets/test_forgery.py",
    ),
    Mutant(
        "a layer divided until it vanishes",
        "ltjax/tickets/scales.py",
        "if norm < LEAST_NORM and np.any(layer):",
        "if norm < 0.0 and np.any(layer):",
        "tests/tickets/test_forgery.py",
    ),
    Mutant(
        "equal as rounded is equal",
        "ltjax/tickets/verifying.py",
        "error[at] = ((product - w) + lost) / m",
        "error[at] = (product - w) / m",
        "tests/tickets/test_forgery.py",
    ),
    Mutant(
        "other bytes that read as a ticket",
        "ltjax/tickets/archive.py",
        "if to_bytes(ticket) != data:",
        "if _parts(ticket) != (header, kept):",
        "tests/tickets/test_forgery.py",
    ),
    Mutant(
        "scales multiplied in order",
        "ltjax/tickets/archive.py",
        "product = math.prod(map(Fraction, scales), start=Fraction(1))",
        "product = math.prod(scales)",
        "tests/tickets/test_forgery.py",
    ),
    Mutant(
        "an upper bound printed rounded down",
        "ltjax/decimals.py",
        "return _significant(value, digits, ROUND_CEILING)",
        "return _significant(value, digits, ROUND_FLOOR)",
        "tests/results/test_decimals.py",
    ),
    Mutant(
        "a hard link to an input written over",
        "ltjax/system/files.py",
        "return os.path.samefile(one, other)",
        "return os.path.realpath(one) == os.path.realpath(other)",
        "tests/cli/test_outputs.py",
    ),
    Mutant(
        "integers beyond 2^53 rounded",
        "ltjax/system/files.py",
        "return converted - upper.astype(np.float64) * 2.0**32 != lower.astype(np.float64)",
        "return converted.astype(values.dtype) != values",
        "tests/system/test_reading.py",
    ),
    Mutant(
        "a signal's reminder comes once",
        "ltjax/system/interrupts.py",
        "ITIMER_REAL, GRACE, GRACE)",
        "ITIMER_REAL, GRACE)",
        "tests/system/test_interrupts.py",
    ),
    Mutant(
        "an ignored signal caught",
        "ltjax/system/interrupts.py",
        "not in (signal.SIG_IGN, None)",
        "is not None",
        "tests/system/test_interrupts.py",
    ),
    Mutant(
        "a letter too much for a stream",
        "ltjax/system/streams.py",
        'stream.reconfigure(errors="backslashreplace")',
        'stream.reconfigure(errors="strict")',
        "tests/cli/test_shell.py",
    ),
    Mutant(
        "half a trial",
        "ltjax/cli/values.py",
        "if not value.is_finite() or value != value.to_integral_value():",
        "if not value.is_finite():",
        "tests/cli/test_shell.py",
    ),
    Mutant(
        "asymptotic widths where they are far off",
        "ltjax/theory/widths.py",
        "if delta <= RARE else float",
        "if delta <= 1.0 else float",
        "tests/theory/test_asymptotics.py",
    ),
    Mutant(
        "Hall's sum without the choice of neurons",
        "ltjax/theory/hall.py",
        "log = sets.log_number + _log_choose(k, n)[s - 1] + (s - 1) * np.log(sets.twice)",
        "log = sets.log_number + (s - 1) * np.log(sets.twice)",
        "tests/theory/test_hall.py",
    ),
    Mutant(
        "too few neurons counted for one half",
        "ltjax/theory/hall.py",
        "least = 2.0 * (short -",
        "least = 1.0 * (short -",
        "tests/theory/test_hall.py",
    ),
    Mutant(
        "a class of weights bounded by the wrong end",
        "ltjax/theory/hall.py",
        "[[members[-1], members[0]] for members in classes]",
        "[[members[0], members[-1]] for members in classes]",
        "tests/theory/test_hall.py",
    ),
    Mutant(
        "a damaged line blamed on an editor",
        "ltjax/counting/records.py",
        'if line.endswith(b"\\r\\n") and sealed == line[:-2] + b"\\n":',
        'if line.endswith(b"\\r\\n"):',
        "tests/cli/test_shell.py",
    ),
    Mutant(
        "a signal waits for a step",
        "ltjax/counting/engine.py",
        "interrupts.wait(lambda: _ready(made))",
        "_ready(made)",
        "tests/cli/test_shell.py",
    ),
    Mutant(
        "a notebook's backend draws",
        "ltjax/results/styles.py",
        'os.environ.pop("MPLBACKEND", None)',
        'os.environ.get("MPLBACKEND", None)',
        "tests/results/test_pictures.py",
    ),
    Mutant(
        "numpy's way of printing reaches a figure",
        "ltjax/results/success_figure.py",
        "np.printoptions(**styles.PRINTED),",
        "np.printoptions(),",
        "tests/results/test_pictures.py tests/results/test_plots.py",
    ),
    Mutant(
        "64 bits reach the kernels",
        "ltjax/system/devices.py",
        "    partial(jax.enable_x64, False),\n",
        "",
        "tests/system/test_settings.py",
    ),
    Mutant(
        "a fork that would hang",
        "ltjax/system/devices.py",
        "    if _started_by is not None:",
        "    if False:",
        "tests/system/test_settings.py",
    ),
    Mutant(
        "the compiler may contract A W - t",
        "ltjax/masks/nearest.py",
        "bits ^ zero",
        "bits",
        "tests/weights/test_pinned.py",
    ),
    Mutant(
        "a bracket without the law's slack",
        "ltjax/experiments/neuron/device.py",
        "np.float32(draws.ROUNDING)",
        "np.float32(0.0)",
        "tests/experiments/test_slack.py",
    ),
    Mutant(
        "the slack of whole networks left out",
        "ltjax/experiments/network/device.py",
        "most = worst * (1 + nearest.RELATIVE) + draws.ROUNDING",
        "most = worst * (1 + nearest.RELATIVE)",
        "tests/experiments/test_slack.py",
    ),
    Mutant(
        "slot errors not looked at",
        "ltjax/masks/nearest.py",
        "if beyond.any():",
        "if False:",
        "tests/experiments/test_slack.py",
    ),
    Mutant(
        "another layout's record gone on with",
        "ltjax/counting/plans.py",
        "if problem.layout != LAYOUT:",
        "if False:",
        "tests/scripts/test_reproducible.py",
    ),
    Mutant(
        "the relaxation's last rule left out",
        "ltjax/supnorm/semidefinite.py",
        "    product = np.maximum(product, least + OUTWARD * np.abs(least))\n",
        "",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "an eigenvalue without its slack",
        "ltjax/supnorm/semidefinite.py",
        "(max(top, 0.0) + slack)",
        "max(top, 0.0)",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "stuck nodes forgotten",
        "ltjax/supnorm/branch_and_bound.py",
        "                self.settled = max(self.settled, bound)\n            else:",
        "                self.settled = self.settled if stuck else bound\n            else:",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "a lower bound rounded to nearest",
        "ltjax/supnorm/ascent.py",
        "return reached(pair, x[:, None])[0][0], x",
        "return _gap(pair, x)[0], x",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "a norm without its slack",
        "ltjax/supnorm/certificate.py",
        "return gain * (1 + SLACK * max(plus.shape[-2:]) ** 2 * float(xp.finfo(layer.dtype).eps))",
        "return gain",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "opposed signs cost less than they do",
        "ltjax/supnorm/certificate.py",
        "        size = size * xp.maximum(gain(w), gain(w + e))[..., None]\n",
        "        pass\n",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "in the plane exact is exact",
        "ltjax/supnorm/plane.py",
        "    off = 2.0 * (depth",
        "    off = 0.0 * (depth",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "a point's rounding counted in part",
        "ltjax/networks/pairs.py",
        "off = off + np.where(np.abs(z) <= change + off_z, np.minimum(off_z, change), 0.0)",
        "off = off + 0.0",
        "tests/networks/test_bounds.py",
    ),
    Mutant(
        "powers of a matrix of zeros",
        "ltjax/supnorm/certificate.py",
        "np.where(some, _schatten(matrix, np, MORE_SQUARINGS, stop), 0.0)",
        "_schatten(matrix, np, MORE_SQUARINGS, stop)",
        "tests/supnorm/test_stops.py",
    ),
    Mutant(
        "a deadline ignored by the relaxation",
        "ltjax/supnorm/semidefinite.py",
        "            if stop():\n                return None\n            state,",
        "            state,",
        "tests/supnorm/test_stops.py",
    ),
    Mutant(
        "an interrupt ends with code 0",
        "ltjax/cli/tickets.py",
        "raise KeyboardInterrupt",
        "return",
        "tests/supnorm/test_stops.py",
    ),
    Mutant(
        "the fuzzer forgets the breakpoints of g",
        "scripts/rationals.py",
        "    for p, q in np.concatenate([of_f, of_g]):",
        "    for p, q in of_f:",
        "tests/scripts/test_redteam.py",
    ),
    Mutant(
        "the fuzzer lets every lower bound pass",
        "scripts/redteam.py",
        "check(value <= found.high,",
        "check(value <= 4 * found.high,",
        "tests/scripts/test_redteam.py",
    ),
    Mutant(
        "a kernel of Flax read as a weight of PyTorch",
        "ltjax/networks/safetensors_file.py",
        'values.T if role == "kernel" else values',
        "values",
        "tests/networks/test_arrays.py",
    ),
    Mutant(
        "layers sorted as text",
        "ltjax/networks/safetensors_file.py",
        "sorted(layers, key=numbers)",
        "sorted(layers)",
        "tests/networks/test_arrays.py",
    ),
    Mutant(
        "biases of another layer taken",
        "ltjax/networks/arrays.py",
        "if comparable and of_matrix != of_vector:",
        "if False:",
        "tests/networks/test_arrays.py",
    ),
    Mutant(
        "the transpose of Gemm forgotten",
        "ltjax/networks/onnx_graph/operators.py",
        "other.T if turned[1 - node.flowing] else other",
        "other",
        "tests/networks/test_onnx.py",
    ),
    Mutant(
        "the biases of a convolution dropped",
        "ltjax/networks/onnx_graph/operators.py",
        "node.weights(2).reshape(-1, *[1] * rank)",
        "0.0 * node.weights(2).reshape(-1, *[1] * rank)",
        "tests/networks/test_onnx.py",
    ),
    Mutant(
        "a convolution padded at the wrong end",
        "ltjax/networks/onnx_graph/operators.py",
        'if auto == "SAME_UPPER" else',
        'if auto != "SAME_UPPER" else',
        "tests/networks/test_onnx.py",
    ),
    Mutant(
        "a tensor from before a Relu still known",
        "ltjax/networks/onnx_graph/walk.py",
        'known = {self.at, "", *self.constants}',
        'known = {self.at, "", *self.constants, *self.before}',
        "tests/networks/test_onnx.py",
    ),
    Mutant(
        "whole numbers without a scale taken for weights",
        "ltjax/networks/onnx_graph/node.py",
        "if values.dtype.name.startswith(WHOLE):",
        "if False:",
        "tests/networks/test_onnx.py",
    ),
    Mutant(
        "what composing layers rounds forgotten",
        "ltjax/networks/coefficients.py",
        "np.where(terms == 0.0, 0.0, made) + kept",
        "kept",
        "tests/networks/test_coefficients.py",
    ),
    Mutant(
        "roundings of the layers before forgotten",
        "ltjax/networks/affine.py",
        "apart = OUTWARD * (norm * apart + off * (size + apart + 1.0))",
        "apart = OUTWARD * off * (size + apart + 1.0)",
        "tests/networks/test_coefficients.py",
    ),
)


def planted(mutant: Mutant) -> str:
    """The module with the fault; ValueError unless its place is found exactly once."""
    text = (ROOT / mutant.path).read_text()
    if text.count(mutant.old) != 1 or mutant.old == mutant.new:
        raise ValueError(f"{mutant.name}: found {text.count(mutant.old)} times in {mutant.path}")
    return text.replace(mutant.old, mutant.new)


def copied(folder: Path) -> Path:
    """A copy of what the tests read; compiled Python is left behind."""
    for name in COPIED:
        source, there = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, there, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, there)
    return folder


def passes(folder: Path, tests: str, cache: str) -> bool:
    """Whether the tests pass in a copy; `RuntimeError` where none of them ran."""
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    env["LTJAX_TESTS_CACHE"] = cache  # a program that the fault leaves alone is compiled once
    try:
        ran = subprocess.run(
            [*line, *tests.split()], cwd=folder, env=env, capture_output=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return False
    if ran.returncode not in (0, FAILED):
        raise RuntimeError(f"pytest {tests}: exit code {ran.returncode}\n{ran.stdout.decode()}")
    return ran.returncode == 0


def survives(mutant: Mutant, cache: str) -> bool:
    """Whether the tests pass with the fault planted."""
    text = planted(mutant)
    with tempfile.TemporaryDirectory(prefix="ltjax-mutant-") as folder:
        (copied(Path(folder)) / mutant.path).write_text(text)
        return passes(Path(folder), mutant.tests, cache)


def unsound(mutants: list[Mutant], cache: str, pool: ThreadPoolExecutor) -> list[str]:
    """Tests that fail where nothing is wrong: by them a mutant's death would be no word."""
    named = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests.split()))
    with tempfile.TemporaryDirectory(prefix="ltjax-mutant-") as folder:
        copied(Path(folder))
        passed = pool.map(lambda test: passes(Path(folder), test, cache), named)
        return [test for test, passing in zip(named, passed, strict=True) if not passing]


def main(argv: list[str] | None = None) -> int:
    """Plant, test and tell; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="words in the names wanted")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested side by side")
    asked = parser.parse_args(argv)
    mutants = [m for m in MUTANTS if any(word in m.name for word in asked.only)]
    begun = time.monotonic()
    programs = tempfile.TemporaryDirectory(prefix="ltjax-programs-")
    with programs as cache, ThreadPoolExecutor(asked.jobs) as pool:
        if failed := unsound(mutants, cache, pool):
            print(f"tests fail where nothing is planted: {', '.join(failed)}")
            return 1
        alive = 0
        for mutant, survived in zip(
            mutants, pool.map(lambda m: survives(m, cache), mutants), strict=True
        ):
            alive += survived
            print(
                f"{'SURVIVED' if survived else 'killed':10}{mutant.name:58}{mutant.path}",
                flush=True,
            )
    print(
        f"{len(mutants)} mutants, {len(mutants) - alive} killed, {alive} survived, "
        f"{time.monotonic() - begun:.0f} s"
    )
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main())
