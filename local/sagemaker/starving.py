"""Too little CPU for one process group, as a busy neighbour leaves it: it runs for a moment, and then not for a while.

A process of its own does it: the server's threads are scheduled too coarsely for a millisecond.
"""

from __future__ import annotations

import subprocess
import sys

RUNS_S = 0.001  # shorter than an answer takes, so that none slips through
_PROGRAM = """
import os, signal, sys, time
group, runs_s, stands_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
try:
    while not ending and os.getppid() > 1:
        os.killpg(group, signal.SIGSTOP)
        time.sleep(stands_s)
        os.killpg(group, signal.SIGCONT)
        time.sleep(runs_s)
    os.killpg(group, signal.SIGCONT)
except ProcessLookupError:
    pass
"""


class Starving:
    """Lasts until `end`, or as long as the group does."""

    def __init__(self, group: int, *, stands_s: float) -> None:
        arguments = [sys.executable, "-S", "-E", "-c", _PROGRAM, str(group), str(RUNS_S), str(stands_s)]
        self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        """Afterwards the group runs, so that it hears what it is told."""
        self._process.terminate()
        self._process.wait()
