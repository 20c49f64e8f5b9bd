"""Twenty swaps leave no more behind than two."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from webui.core.paths import PROGRAM

TIMES = 22
DEMO = PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors"


def test_memory_after_twenty_swaps_is_what_it_was_after_two(tmp_path: Path) -> None:
    other = shutil.copy(DEMO, tmp_path / "other.safetensors")
    command = [sys.executable, "-m", "tests.engine.swapping", str(DEMO), str(other), str(TIMES)]
    printed = subprocess.run(command, cwd=PROGRAM, capture_output=True, text=True, check=True, timeout=600).stdout
    memory = [int(line) for line in printed.split()]
    assert len(memory) == TIMES
    # The first picture loads the first checkpoint; each one after it swaps.
    assert memory[20] <= 1.05 * memory[2], [f"{one / 1e6:.0f}" for one in memory]
