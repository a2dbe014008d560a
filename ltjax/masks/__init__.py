"""Which weights or neurons of a random network to keep."""
