"""The sprites: emoji out of npm packages, drawn as PNG files. Needs node and npm.

python -m tools.demo_family.sprites
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tools.demo_family.dataset import WORK
from tools.demo_family.subjects import SUBJECTS

HERE = Path(__file__).parent


def build(work: Path = WORK) -> None:
    """Install the packages and draw into work/sprites, with LICENSES.json.  Raises CalledProcessError when npm or node fail."""
    place = work / "npm"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "package.json", place)
    (place / "names.json").write_text(json.dumps(dict(SUBJECTS)), encoding="utf-8")
    subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=place, check=True)
    target = (work / "sprites").resolve()
    subprocess.run(["node", str((HERE / "render.js").resolve()), "names.json", str(target)], cwd=place, check=True)


if __name__ == "__main__":
    build()
