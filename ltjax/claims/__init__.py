"""Every statement of the source document, with the experiment that puts it to the test.

The source is a talk on Malach, Yehudai, Shalev-Shwartz, Shamir, "Proving the Lottery Ticket
Hypothesis: Pruning is All You Need", ICML 2020, arXiv:2002.00585. `findings` says what a row is.
"""

from ltjax.claims import (
    algebra,
    conjectures,
    existence,
    neurons,
    one_neuron,
    promises,
    whole_networks,
)
from ltjax.claims.findings import Claim, Finding, Verdict

__all__ = ["CLAIMS", "Claim", "Finding", "Verdict"]

MODULES = (
    conjectures,
    promises,
    algebra,
    one_neuron,
    existence,
    whole_networks,
    neurons,
)
CLAIMS: dict[str, Claim] = {claim.name: claim for module in MODULES for claim in module.CLAIMS}
