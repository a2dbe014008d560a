"""Random weights: which word stands at which address, and how one is drawn again on the host."""
