"""What an experiment is about: one configuration each, frozen, plain data, JSON both ways.

A configuration says what shapes there are and which criteria are counted; target and grid are a
`Problem`'s, whose notation is used here.
"""

from ltjax.configs.criterion import GRACE, MAX_DIM, Criterion
from ltjax.configs.features import (
    ACTIVATIONS,
    DATA,
    LAWS,
    LOSSES,
    MAX_DATA,
    MAX_FEATURES,
    SEARCHES,
    Features,
    check_data,
    check_direction,
)
from ltjax.configs.network import (
    LASTS,
    NETWORK_CONSTRUCTIONS,
    NETWORK_RULES,
    SUPREMA,
    Network,
    check_network,
    hypotheses,
)
from ltjax.configs.neuron import CONSTRUCTIONS, RULES, Neuron, check_target
from ltjax.configs.training import EVERY, Imp, Popup, Training

Config = Neuron | Network | Features | Imp | Popup
CONFIGS: dict[str, type[Config]] = {
    "neuron": Neuron,
    "network": Network,
    "features": Features,
    "imp": Imp,
    "popup": Popup,
}

__all__ = [
    "ACTIVATIONS",
    "CONFIGS",
    "CONSTRUCTIONS",
    "DATA",
    "EVERY",
    "GRACE",
    "LASTS",
    "LAWS",
    "LOSSES",
    "MAX_DATA",
    "MAX_DIM",
    "MAX_FEATURES",
    "NETWORK_CONSTRUCTIONS",
    "NETWORK_RULES",
    "RULES",
    "SEARCHES",
    "SUPREMA",
    "Config",
    "Criterion",
    "Features",
    "Imp",
    "Network",
    "Neuron",
    "Popup",
    "Training",
    "check_data",
    "check_direction",
    "check_network",
    "check_target",
    "hypotheses",
]
