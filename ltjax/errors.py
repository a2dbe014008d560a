"""What can go wrong, as exceptions whose message is one line."""

import errno

# Of `OSError`: what may be otherwise when the same command is given again.
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EMFILE}


class InputError(ValueError):
    """Unusable input. The message is one line: the argument, the rule, the value found."""


class TooWideError(InputError):
    """More neurons are asked for than can be numbered."""


class FalseClaimError(Exception):
    """What was to be verified does not hold. The message is one line."""


class UnprovedError(Exception):
    """What is claimed may hold, and no proof of it was found. The message is one line."""


class WrongKernelError(RuntimeError):
    """A compiled kernel failed its known-answer check: nothing it computes can be trusted."""


class LostProcessError(RuntimeError):
    """One of several processes on one problem is gone; what was recorded is kept."""


class UnsaidError(Exception):
    """A result is there and cannot be printed."""
