"""Which upscalers there are follows from the folders, under A1111's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.catalog.model_files import write_model
from webui.catalog.catalog import Catalog
from webui.catalog.upscalers import CODEFORMER_PACKAGE, list_upscalers
from webui.core.errors import InvalidRequest, ModelError, NotFound, UnknownName
from webui.core.paths import Paths


def put(models: Path, *names: str) -> None:
    for name in names:
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something")


def names(models: Path) -> list[str]:
    return [one.name for one in list_upscalers(models, lambda file: None).all]


def test_those_that_need_no_file_come_first_then_files_by_name(tmp_path: Path) -> None:
    put(tmp_path, "ESRGAN/4x-UltraSharp.pth", "ESRGAN/10x.pt", "DAT/DAT_x2.pth", "SwinIR/b.safetensors", "HAT/notes.txt")
    assert names(tmp_path) == ["None", "Lanczos", "Nearest", "4x-UltraSharp", "10x", "b", "DAT x2"]


def test_files_that_a1111_fetches_have_its_names(tmp_path: Path) -> None:
    put(tmp_path, "RealESRGAN/RealESRGAN_x4plus.pth", "RealESRGAN/RealESRGAN_x4plus_anime_6B.pth")
    assert names(tmp_path)[3:] == ["R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B"]


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "ESRGAN/a.pth", "DAT/a.pth", "ESRGAN/Lanczos.pth")
    assert set(names(tmp_path)[3:]) == {"a", "DAT/a.pth", "ESRGAN/Lanczos.pth"}


@pytest.mark.parametrize(
    ("stem", "scale"),
    [("4x-UltraSharp", 4), ("2xNomos", 2), ("RealESRGAN_x2plus", 2), ("DAT_x3", 3), ("1x_DeJPG", 1), ("thing", 4), ("v1024x768", 4)],
)
def test_the_scale_is_what_the_name_says(tmp_path: Path, stem: str, scale: int) -> None:
    put(tmp_path, f"ESRGAN/{stem}.pth")
    assert list_upscalers(tmp_path, lambda file: None).files[0].scale == scale


def test_a_name_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "ESRGAN/4x-UltraSharp.pth")
    upscalers = list_upscalers(tmp_path, lambda file: None)
    assert upscalers.find("4x-UltraSharp.pth").name == "4x-UltraSharp"
    with pytest.raises(UnknownName, match="Did you mean '4x-UltraSharp'"):
        upscalers.find("4xUltraSharp")


def test_a_broken_file_is_not_offered_and_asking_for_it_says_why(tmp_path: Path) -> None:
    put(tmp_path, "ESRGAN/cut.safetensors")

    def refuse(file: object) -> None:
        raise ModelError("is cut short; download it again")

    upscalers = list_upscalers(tmp_path, refuse)
    assert not upscalers.files
    with pytest.raises(InvalidRequest, match=r"cut\.safetensors is cut short"):
        upscalers.find("cut")


def test_what_is_missing_to_mend_faces_is_said_with_the_place_for_it(tmp_path: Path) -> None:
    nothing = list_upscalers(tmp_path, lambda file: None)
    assert nothing.face_files([], tmp_path) is None
    with pytest.raises(
        NotFound, match=r"GFPGANv1\.4\.pth into .*GFPGAN and refresh.*face_detection_yunet_2023mar\.onnx into .*FaceDetection"
    ):
        nothing.face_files(["GFPGAN"], tmp_path)
    with pytest.raises(UnknownName, match="Did you mean 'GFPGAN'"):
        nothing.face_files(["GFPGam"], tmp_path)
    put(tmp_path, "GFPGAN/GFPGANv1.4.pth", "GFPGAN/detection_Resnet50_Final.pth", "FaceDetection/yunet.onnx")
    found = list_upscalers(tmp_path, lambda file: None).face_files(["GFPGAN"], tmp_path)
    assert found
    assert (found.detector.name, dict(found.restorers)["GFPGAN"].name) == ("yunet.onnx", "GFPGANv1.4.pth")


def test_codeformer_without_its_package_says_why_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "Codeformer/codeformer-v0.1.0.pth", "FaceDetection/yunet.onnx")
    upscalers = list_upscalers(tmp_path, lambda file: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotFound, match=f"pip install {CODEFORMER_PACKAGE}"):
        upscalers.face_files(["CodeFormer"], tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert upscalers.face_files(["CodeFormer"], tmp_path)


def test_the_catalog_finds_them_and_reports_broken_ones(paths: Paths) -> None:
    put(paths.models, "ESRGAN/cut.safetensors", "ESRGAN/4x.pth")
    write_model(paths.models / "ESRGAN" / "good.safetensors", {"a.weight": (2,)})
    catalog = Catalog(paths, hashing=False)
    try:
        catalog.refresh()
        assert [one.name for one in catalog.upscalers.files] == ["4x", "good"]
        assert [file.name for file in catalog.broken()] == ["cut.safetensors"]
    finally:
        catalog.close()
