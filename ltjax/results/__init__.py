"""Counts beside predictions, as numbers, as text and as figures."""
