"""What is predicted: closed forms and proved bounds, in float64. Numpy and scipy only.

This package never sees a simulation, and none sees it: they meet in plots, claims and tests.
"""

from ltjax.theory.layers import active_weights_bound, layer_odds, network_odds, slot_tolerance
from ltjax.theory.partition import Odds, block_sizes, blocks, blocks_l2, both_slots
from ltjax.theory.pool import shared
from ltjax.theory.prediction import Prediction, predict
from ltjax.theory.product import hit_probability, match_probability, product_cdf
from ltjax.theory.tails import tail
from ltjax.theory.widths import (
    BlockSize,
    asymptotic_block,
    block_size,
    blocks_width,
    coordinate_lemma_width,
    default_block_sizes,
    default_widths,
    layer_block_size,
    leading_width,
    lemma_width,
    network_lemma_block,
    network_lemma_width,
    pooled_width,
    shared_width,
    sharp_width,
    tolerance,
)

__all__ = [
    "BlockSize",
    "Odds",
    "Prediction",
    "active_weights_bound",
    "asymptotic_block",
    "block_size",
    "block_sizes",
    "blocks",
    "blocks_l2",
    "blocks_width",
    "both_slots",
    "coordinate_lemma_width",
    "default_block_sizes",
    "default_widths",
    "hit_probability",
    "layer_block_size",
    "layer_odds",
    "leading_width",
    "lemma_width",
    "match_probability",
    "network_lemma_block",
    "network_lemma_width",
    "network_odds",
    "pooled_width",
    "predict",
    "product_cdf",
    "shared",
    "shared_width",
    "sharp_width",
    "slot_tolerance",
    "tail",
    "tolerance",
]
