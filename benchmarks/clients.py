"""Pictures a second with 1, 2, 4 and 8 clients at once, divided by one client asking in turn.

    venv/bin/python -m benchmarks.clients

Each round draws the same number of pictures both ways, one after the other. Target: never below 1.0.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.program import Program, running

CLIENTS = (1, 2, 4, 8)
ROUNDS = 3
PICTURES = 8
REQUEST = {"prompt": "a red apple", "negative_prompt": "blue", "steps": 20, "width": 128, "height": 128}


def main() -> None:
    """Measure and print a line for each number of clients."""
    with running("--api", "--nowebui") as program:
        program.wait_for_first_byte()
        program.txt2img(**REQUEST)
        for clients in CLIENTS:
            ratios = []
            for _ in range(ROUNDS):
                together = pictures_per_second(program, clients)
                ratios.append(together / pictures_per_second(program, 1))
            print(
                f"{clients} clients: {together:.2f} pictures/s, {median(ratios):.2f} times serial ({min(ratios):.2f} to {max(ratios):.2f})"
            )


def pictures_per_second(program: Program, clients: int) -> float:
    """How fast so many clients, each asking for one picture after another, get theirs together."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda seed: program.txt2img(**REQUEST, seed=seed), range(PICTURES)))
    return PICTURES / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
