"""`mangaassist` as an operator runs it: another process, another deployment's address, what it printed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.deployment import PATIENCE_S, ROOT, Deployed


@dataclass(frozen=True, kw_only=True)
class Done:
    code: int
    out: str
    error: str


def mangaassist(jp: Deployed, *words: str | Path) -> Done:
    # A wide terminal: Rich would fold long ids.
    env = {**os.environ, "AWS_ENDPOINT_URL": jp.aws.endpoint_url, "COLUMNS": "240", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-m", "cli", *map(str, words)], cwd=ROOT, env=env, capture_output=True,
                          text=True, timeout=PATIENCE_S, check=False)
    return Done(code=done.returncode, out=done.stdout, error=" ".join(done.stderr.split()))


def told(jp: Deployed, *words: str | Path) -> str:
    """What a command printed that must succeed."""
    done = mangaassist(jp, *words)
    assert done.code == 0, done
    return done.out


def refused(jp: Deployed, *words: str | Path) -> str:
    """The one sentence of a command that must be refused; never a stack trace."""
    done = mangaassist(jp, *words)
    assert done.code != 0, done
    assert "Traceback" not in done.error + done.out
    return done.error
