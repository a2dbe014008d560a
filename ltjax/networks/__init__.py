"""Networks as data: targets, what the theorem asks of them, pruned layers, pairs to compare."""
