"""Draw with two checkpoints in turn, of which the memory holds but one, and print the process's memory after each picture.

python -m tests.engine.swapping FIRST SECOND TIMES
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import torch

from tests.engine.studio import Studio, work_for
from webui.engine.device import Device
from webui.engine.tokenizer import build_tokenizer


def main() -> None:
    """Print bytes, a line a picture."""
    torch.set_num_threads(1)
    first, second, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    device = Device(torch.device("cpu"), torch.float32, torch.float32)
    studio = Studio(device, build_tokenizer(), budget=1)
    for number in range(times):
        studio.pictures(work_for((first, second)[number % 2], steps=1))
        print(psutil.Process().memory_info().rss, flush=True)
    studio.loop.close()


if __name__ == "__main__":
    main()
