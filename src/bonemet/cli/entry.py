"""Where the program begins: Ctrl-C ends in one sentence from the first moment, libraries loaded or not."""

from __future__ import annotations

import _thread
import json
import math
import signal
import sys
import threading
import time
from types import FrameType

BURST_SECONDS = 2.0
AGAIN_SECONDS = 0.2
STOPPED = "Stopped as asked; what was unfinished was removed, run again to go on."
STOPPED_EXIT = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopper:
    """Lets Ctrl-C and a scheduler's SIGTERM both raise KeyboardInterrupt, once for a burst of them.

    Who presses Ctrl-C twice, or whose shell and scheduler both signal, would otherwise stop the removal
    of the unfinished output.
    """

    def __init__(self) -> None:
        self._last = -math.inf

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if now - self._last > BURST_SECONDS:
            self._last = now
            raise KeyboardInterrupt

    def again(self, lost: sys.UnraisableHookArgs) -> None:
        """Stop once more where an interrupt was lost, as it is in a callback from compiled code.

        A kernel that is being compiled calls back into Python, and what is raised there goes nowhere.
        """
        if lost.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(lost)
            return
        self._last = -math.inf
        timer = threading.Timer(AGAIN_SECONDS, _thread.interrupt_main)
        timer.daemon = True
        timer.start()


def main() -> None:
    """Run the command line, and leave the process with its code."""
    stopper = Stopper()
    sys.unraisablehook = stopper.again
    for number in _SIGNALS:
        signal.signal(number, stopper)
    try:
        from bonemet.cli.main import app

        app()
    except KeyboardInterrupt:  # while libraries load, of which nothing may be used here
        sys.exit(_stopped_early())
    finally:  # the end is near anyway, and another signal would only make it look like a crash
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _stopped_early() -> int:
    if "--json" in sys.argv:
        empty = {"outputs": [], "seconds": 0.0, "peak_mb": None, "warnings": []}
        reason = {"peak_mb": "stopped before the work began"}
        sys.stdout.write(json.dumps({"error": STOPPED, **empty, "reason": reason}, indent=1) + "\n")
    sys.stderr.write(f"Error: {STOPPED}\n")
    return STOPPED_EXIT
