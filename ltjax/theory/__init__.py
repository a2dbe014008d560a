"""What is predicted: closed forms and proved bounds, in float64. Numpy and scipy only.

This package never sees a simulation, and none sees it: they meet in plots, claims and tests.
"""

from ltjax.theory.partition import Odds, block_sizes, blocks, blocks_l2, both_slots
from ltjax.theory.pool import hit_probability, shared
from ltjax.theory.prediction import Prediction, predict
from ltjax.theory.product import match_probability, product_cdf
from ltjax.theory.widths import (
    blocks_width,
    coordinate_lemma_width,
    default_widths,
    leading_width,
    lemma_width,
    pooled_width,
    shared_width,
    sharp_width,
    tolerance,
)

__all__ = [
    "Odds",
    "Prediction",
    "block_sizes",
    "blocks",
    "blocks_l2",
    "blocks_width",
    "both_slots",
    "coordinate_lemma_width",
    "default_widths",
    "hit_probability",
    "leading_width",
    "lemma_width",
    "match_probability",
    "pooled_width",
    "predict",
    "product_cdf",
    "shared",
    "shared_width",
    "sharp_width",
    "tolerance",
]
