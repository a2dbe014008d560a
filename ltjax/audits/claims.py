"""Every statement of the source document and of its sequels on subset sums, put to the test.

The source is a talk on Malach, Yehudai, Shalev-Shwartz, Shamir, "Proving the Lottery Ticket
Hypothesis: Pruning is All You Need", ICML 2020, arXiv:2002.00585. `claim` says what a row is.
"""

from ltjax.audits import (
    algebra,
    conjectures,
    existence,
    neurons,
    one_neuron,
    promises,
    subset_sums,
    whole_networks,
)
from ltjax.audits.claim import Claim

MODULES = (
    conjectures,
    promises,
    algebra,
    one_neuron,
    existence,
    whole_networks,
    neurons,
    subset_sums,
)
CLAIMS: dict[str, Claim] = {claim.name: claim for module in MODULES for claim in module.CLAIMS}
