"""For tests of one's own laws and mask rules: what ltjax itself asks of them before every run."""

from ltjax.experiments.own.checks import check_law, check_rule

__all__ = ["check_law", "check_rule"]
