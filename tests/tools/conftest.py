"""The tools' tests compute on the CPU, also where there is a GPU."""

from __future__ import annotations

import pytest
import torch

from tools.demo_family import classifier, depth_estimator, networks


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for the device that this machine trains on is told the CPU."""
    for owner in (networks, classifier, depth_estimator):
        monkeypatch.setattr(owner, "training_device", lambda: torch.device("cpu"))
