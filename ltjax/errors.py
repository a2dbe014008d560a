"""What can go wrong, as exceptions whose message is one line."""


class InputError(ValueError):
    """Unusable input. The message is one line: the argument, the rule, the value found."""


class FalseClaimError(Exception):
    """What was to be verified does not hold. The message is one line."""


class WrongKernelError(RuntimeError):
    """A compiled kernel failed its known-answer check: nothing it computes can be trusted."""


class LostProcessError(RuntimeError):
    """One of several processes on one problem is gone; what was recorded is kept."""
