"""From trials to counts: the engine, plans, records and intervals."""
