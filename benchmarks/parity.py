"""How near this program comes to A1111 1.10.1: the reference requests through the API, latents, pictures and infotexts compared.

    venv/bin/python -m benchmarks.parity REFERENCE CHECKPOINT [--only PREFIX ...]

REFERENCE: the folder with cases.json, data/, inputs/ and addons/.   CHECKPOINT: what its make_checkpoint.py writes; it is linked
as holdout.safetensors. Limits as the reference's README suggests: latents 5e-4 of their spread, pictures one level in 1 % of the values,
infotexts equal but for the version. DPM adaptive is chaotic on random weights: its latents and picture need only be finite and of the size.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from fastapi.testclient import TestClient
from PIL import Image

from webui.api.server import build_server
from webui.app import App
from webui.core.paths import standard_paths
from webui.engine import generate
from webui.engine.warmup import EngineOptions

LATENT_LIMIT = 5e-4
LATENT_LIMIT_THROUGH_PICTURE = 5e-3
CHAOTIC = "sampler-dpm-adaptive"


@dataclass(frozen=True)
class Verdict:
    """One case.  latent: largest difference of the latents in units of their spread.   level, share: of the pictures' values."""

    name: str
    latent: float
    level: int
    share: float
    infotext: bool

    @property
    def holds(self) -> bool:
        """Whether it is the same picture, made in the same way."""
        if self.name.startswith(CHAOTIC):
            return np.isfinite(self.latent) and self.infotext
        limit = LATENT_LIMIT_THROUGH_PICTURE if self.name.startswith("hires") else LATENT_LIMIT
        return self.latent <= limit and self.level <= 1 and self.share <= 0.01 and self.infotext


class Reference:
    """The folder of what A1111 answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases: list[dict[str, Any]] = json.loads((folder / "cases.json").read_text())

    def request(self, case: dict[str, Any]) -> dict[str, Any]:
        """The request with its pictures filled in."""
        return self._filled(case["request"])

    def latents(self, case: dict[str, Any]) -> np.ndarray:
        """What the last sampler returned."""
        stored = np.load(self.folder / "data" / f"{case['name']}.npz")
        return stored[max(name for name in stored.files if name.startswith("latent"))]

    def picture(self, case: dict[str, Any], index: int) -> np.ndarray:
        """A picture as whole numbers."""
        return np.asarray(Image.open(self.folder / "data" / f"{case['name']}-{index}.png").convert("RGB"), dtype=int)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("@"):
            return base64.b64encode((self.folder / "inputs" / value[1:]).read_bytes()).decode()
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        return {key: self._filled(one) for key, one in value.items()} if isinstance(value, dict) else value


@contextmanager
def program(reference: Reference, checkpoint: Path) -> Iterator[TestClient]:
    """The whole program in this process, on the processor, with the reference's models."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        paths = standard_paths(data)
        paths.checkpoints[0].mkdir(parents=True)
        (paths.checkpoints[0] / "holdout.safetensors").symlink_to(checkpoint.resolve())
        addons = reference.folder.resolve() / "addons"
        for kind, target in (("lora", paths.loras[0]), ("embeddings", paths.embeddings[0]), ("hypernetworks", paths.hypernetworks[0])):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(addons / kind)
        paths.config.write_text(json.dumps({"sd_model_checkpoint": "holdout.safetensors"}))
        with closing(App(paths, engine_options=EngineOptions(device="cpu"))) as app:
            app.start()
            with TestClient(build_server(app, api=True), base_url="http://127.0.0.1") as client:
                yield client


def compare(client: TestClient, reference: Reference, case: dict[str, Any]) -> Verdict:
    """Ask for one case's picture and hold it against A1111's."""
    latents: list[torch.Tensor] = []
    decode = generate.decode_picture

    def decode_and_note(vae: Any, latent: torch.Tensor) -> Image.Image:
        latents.append(latent.clone())
        return decode(vae, latent)

    with patch.object(generate, "decode_picture", decode_and_note):
        answer = client.post(case["path"], json=reference.request(case))
    if answer.status_code != 200:
        raise RuntimeError(answer.json().get("detail") or answer.text[:200])
    body = answer.json()
    wanted = reference.latents(case)
    ours = torch.stack(latents[-len(wanted) :]).float().numpy()
    latent = float(np.abs(ours - wanted).max() / wanted.std())
    level, share = 0, 0.0
    for index, encoded in enumerate(body["images"]):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"), dtype=int)
        difference = np.abs(picture - reference.picture(case, index))
        level, share = max(level, int(difference.max())), max(share, float((difference > 0).mean()))
    said = [_without_version(text) for text in json.loads(body["info"])["infotexts"]]
    return Verdict(case["name"], latent, level, share, said == [_without_version(text) for text in case["infotexts"]])


def _without_version(infotext: str) -> str:
    return re.sub(r", Version: [^,]*", "", infotext)


def main() -> int:
    """Run the cases and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--only", nargs="*", default=[""])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reference = Reference(arguments.reference)
    cases = [case for case in reference.cases if case["name"].startswith(tuple(arguments.only))]
    held = 0
    with program(reference, arguments.checkpoint) as client:
        for case in cases:
            began = time.perf_counter()
            try:
                verdict = compare(client, reference, case)
            except Exception as error:  # noqa: BLE001 - a case that fails is a line of the table
                print(f"{case['name']:34} FAILED {error}", flush=True)
                continue
            held += verdict.holds
            print(
                f"{verdict.name:34} {'holds' if verdict.holds else 'DIFFERS':8} latents {verdict.latent:.1e}  pictures {verdict.level} in "
                f"{verdict.share:.2%}  infotext {'same' if verdict.infotext else 'DIFFERS'}  {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    print(f"{held} of {len(cases)} hold")
    return 0 if held == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
