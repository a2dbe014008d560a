"""What is predicted: closed forms and proved bounds, in float64. Numpy and scipy only.

This package never sees a simulation, and none sees it: they meet in plots, claims and tests.
"""

from ltjax.theory.features import best_coefficients, residuals, squared_loss
from ltjax.theory.hall import Unmatched, unmatched
from ltjax.theory.harmonics import least_features, least_residual
from ltjax.theory.layers import active_weights_bound, layer_odds, network_odds, slot_tolerance
from ltjax.theory.partition import Odds, block_sizes, blocks_l2, blocks_odds, both_slots
from ltjax.theory.pool import shared_odds
from ltjax.theory.prediction import Prediction
from ltjax.theory.product import hit_probability, match_probability, product_cdf
from ltjax.theory.subnetworks import groups_needed, subnetwork_variance, variance_bound
from ltjax.theory.subset_counting import layer_counting_bound, least_bits, neuron_counting_bound
from ltjax.theory.subset_exact import exact_success
from ltjax.theory.subset_heuristics import poisson_cover_heuristic, poisson_heuristic
from ltjax.theory.subset_sums import (
    cover_bounds,
    dawson_sankoff,
    first_moment,
    out_of_reach,
    second_moment,
    target_bounds,
)
from ltjax.theory.subset_tails import subset_tail
from ltjax.theory.tails import tail
from ltjax.theory.widths import (
    RARE,
    BlockSize,
    asymptotic_block,
    block_size,
    blocks_width,
    coordinate_lemma_width,
    default_block_sizes,
    default_layer_widths,
    default_widths,
    layer_block_size,
    leading_width,
    lemma_width,
    network_lemma_block,
    network_lemma_width,
    network_pool_width,
    poisson_width,
    pooled_width,
    shared_width,
    sharp_width,
    tolerance,
)

__all__ = [
    "RARE",
    "BlockSize",
    "Odds",
    "Prediction",
    "Unmatched",
    "active_weights_bound",
    "asymptotic_block",
    "best_coefficients",
    "block_size",
    "block_sizes",
    "blocks_l2",
    "blocks_odds",
    "blocks_width",
    "both_slots",
    "coordinate_lemma_width",
    "cover_bounds",
    "dawson_sankoff",
    "default_block_sizes",
    "default_layer_widths",
    "default_widths",
    "exact_success",
    "first_moment",
    "groups_needed",
    "hit_probability",
    "layer_block_size",
    "layer_counting_bound",
    "layer_odds",
    "leading_width",
    "least_bits",
    "least_features",
    "least_residual",
    "lemma_width",
    "match_probability",
    "network_lemma_block",
    "network_lemma_width",
    "network_odds",
    "network_pool_width",
    "neuron_counting_bound",
    "out_of_reach",
    "poisson_cover_heuristic",
    "poisson_heuristic",
    "poisson_width",
    "pooled_width",
    "product_cdf",
    "residuals",
    "second_moment",
    "shared_odds",
    "shared_width",
    "sharp_width",
    "slot_tolerance",
    "squared_loss",
    "subnetwork_variance",
    "subset_tail",
    "tail",
    "target_bounds",
    "tolerance",
    "unmatched",
    "variance_bound",
]
