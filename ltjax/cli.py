"""The command line: parsing, printing, progress, exit codes. The only module that prints.

Exit codes: 0 done, 1 the claim is false, 2 unusable input, 75 interrupted and resumable.
"""

import contextlib
import io
import os
import re
import signal
import sys
import time
from typing import Any

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes

from ltjax import __version__
from ltjax.commands import Command

DONE, FALSE, UNUSABLE, INTERRUPTED = 0, 1, 2, 75
LOG_SECONDS = 30.0  # between progress lines where standard error is no terminal
FRAME = re.compile(r"\x1b\[[0-9;]*m|[\u2500-\u257f]|-{4,}")  # of the parser: colours and rules

DESCRIPTION = f"""ltjax {__version__}: strong lottery tickets, counted.

How wide must a random network be before pruning alone finds the target?"""


class Progress:
    """Rate, time left and the current estimate, on standard error.

    One line redrawn on a terminal; elsewhere a plain line now and then.
    """

    def __init__(self, trials: int, criterion: str, quiet: bool) -> None:
        self.trials, self.criterion, self.quiet = trials, criterion, quiet
        self.begun = self.told = time.monotonic()
        self.done = 0
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, batch, log) -> None:
        if batch is None:
            self._begin(log.tally.trials, log.dropped_bytes)
        elif not self.quiet:
            self._tell(batch.stop - batch.start, log.tally)

    def _begin(self, done: int, dropped: int) -> None:
        if dropped:
            print(f"dropped a torn end of {dropped} bytes.", file=sys.stderr)
        if done >= self.trials:
            print(f"nothing to do: {done:,} trials are recorded.", file=sys.stderr)
        elif not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.trials, initial=done, unit=" trials", unit_scale=True)

    def _tell(self, trials: int, tally) -> None:
        self.done += trials
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(self._current(tally), refresh=False)
            self.bar.update(trials)
        elif now - self.told >= LOG_SECONDS:
            self.told = now
            rate = self.done / (now - self.begun)
            left = max(self.trials - tally.trials, 0) / rate
            print(
                f"{tally.trials:,} of {self.trials:,} trials, {rate:,.0f} a second, "
                f"{left:,.0f} s left, {self._current(tally)}",
                file=sys.stderr,
            )

    def _current(self, tally) -> str:
        """Success so far at the middle width and the smallest epsilon."""
        widths, epsilons = tally.problem.grid.widths, tally.problem.grid.epsilons
        k = len(widths) // 2
        success = tally.certified[tally.criterion(self.criterion), k, -1] / tally.trials
        axis = tally.problem.config.axis
        return f"{self.criterion} {success:.4f} at {axis} = {widths[k]}, epsilon {epsilons[-1]:g}"


def parse(argv: list[str] | None):
    """The command asked for; exits with 2 and one line where it cannot be understood."""
    config = (OmitSubcommandPrefixes, OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(
                Command, prog="ltjax", description=DESCRIPTION, args=argv, config=config
            )
    except SystemExit as stop:
        if stop.code == UNUSABLE:
            complain(_one_line(shown.getvalue()), UNUSABLE)
        raise


def _one_line(box: str) -> str:
    """The message and the suggestion, out of the frame in which the parser puts them."""
    text = "\n".join(FRAME.sub("", line).strip() for line in box.splitlines()[1:])
    parts = [" ".join(part.split()).rstrip(".") for part in text.split("\n\n")]
    helps = ("Argument helptext", "For full helptext")
    said = ". ".join(part for part in parts if part and not part.startswith(helps)) + "."
    said = re.sub(r"( in ltjax [a-z ]*--help)+", "", said)
    # Of all types that a flag may have, the last is the one worth naming.
    return re.sub(r"no type matching .* - [^:]*: ", "", said)


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    command = parse(argv)
    # The compiler's own log says of every kept program that another processor may not run it. What
    # jax sets, 1, reaches the processes that it starts.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as control-C
    code = _obey(command)
    if code != DONE and getattr(command, "distributed", False):
        sys.stderr.flush()
        os._exit(code)  # an exit by jax waits for processes that are gone, and is then aborted
    return code


def _obey(command) -> int:
    """Print what a command yields; turn what stops it into one line and an exit code."""
    from ltjax.errors import FalseClaimError, InputError, LostProcessError, WrongKernelError

    resumable = getattr(command, "resumable", False)
    later = "; the same command goes on from its record" if resumable else ""
    try:
        for text in command(Progress):
            print(text)
        sys.stdout.flush()
        return DONE
    except FalseClaimError as error:
        return complain(str(error), FALSE)
    except (InputError, WrongKernelError) as error:
        return complain(str(error), UNUSABLE)
    except LostProcessError as error:
        return complain(f"{error}{later}.", INTERRUPTED)
    except KeyboardInterrupt:
        return complain(f"interrupted{later}.", INTERRUPTED)
    except OSError as error:
        # What is left to print cannot be printed: at exit the interpreter would try it again.
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has seen enough
            return DONE
        return complain(f"{error}{later}.", INTERRUPTED)


def complain(message: str, code: int) -> int:
    """One line, whatever the names of files hold; return the exit code."""
    print(f"ltjax: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
