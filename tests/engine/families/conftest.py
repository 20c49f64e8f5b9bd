"""Tiny models of the families beside SD 1.x."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.tiny_families import FamilyModel, make_refiner, make_sd2, make_sdxl


@pytest.fixture(scope="session")
def sd2(models: Path) -> FamilyModel:
    """SD 2.x that predicts noise."""
    return make_sd2(models / "sd2.safetensors", 11)


@pytest.fixture(scope="session")
def sd2_v(models: Path) -> FamilyModel:
    """SD 2.x that predicts v."""
    return make_sd2(models / "sd2-v.safetensors", 12, prediction="v_prediction")


@pytest.fixture(scope="session")
def sdxl(models: Path) -> FamilyModel:
    """SDXL base."""
    return make_sdxl(models / "sdxl.safetensors", 13)


@pytest.fixture(scope="session")
def refiner(models: Path) -> FamilyModel:
    """The SDXL refiner."""
    return make_refiner(models / "refiner.safetensors", 14)
