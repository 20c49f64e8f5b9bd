import hashlib
import os
import threading
from pathlib import Path

import pytest

from tests.plugins.extension_sources import write_wheel
from webui.core.errors import InvalidRequest
from webui.core.extensions import ResolvedPackage
from webui.plugins.install import packages
from webui.plugins.install.processes import Limits

PINS = packages.read_pins()


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    place = tmp_path / "place"
    place.mkdir()
    return Limits(300.0, threading.Event(), place)


def test_the_programs_own_versions_are_read() -> None:
    assert PINS["pluggy"] == "1.7.0"
    assert "Pillow" not in PINS
    assert PINS["pillow"]


def test_what_the_program_has_already_is_not_looked_for(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "run", lambda *_, **__: pytest.fail("pip was asked"))
    assert packages.resolve(("numpy", f"Pillow=={PINS['pillow']}", "torch>=2", "none; python_version < '3'"), limits) == ()


def test_requirements_against_the_programs_own_are_refused_with_their_names(limits: Limits) -> None:
    with pytest.raises(InvalidRequest, match=rf"numpy<2 \(this program runs on {PINS['numpy']}\), pluggy==0\.1 \(.*1\.7\.0\)"):
        packages.resolve(("numpy<2", "left", "pluggy==0.1"), limits)


def test_a_conflict_deeper_down_is_refused_with_its_names(limits: Limits, wheels: Path) -> None:
    write_wheel(wheels, "both", "1.0", requires=["numpy<2"])
    with pytest.raises(InvalidRequest, match=f"both 1.0 depends on numpy<2; this program runs on numpy=={PINS['numpy']}"):
        packages.resolve(("both",), limits)
    write_wheel(wheels, "left", "1.0")
    write_wheel(wheels, "left", "2.0")
    write_wheel(wheels, "needs", "1.0", requires=["left==1.0"])
    with pytest.raises(InvalidRequest, match=r"it requires left==2.0; needs 1.0 depends on left==1.0"):
        packages.resolve(("needs", "left==2.0"), limits)


def test_what_is_resolved_is_installed_into_a_folder_of_its_own(limits: Limits, wheels: Path, tmp_path: Path) -> None:
    left = write_wheel(wheels, "left", "1.0")
    write_wheel(wheels, "left", "2.0")
    write_wheel(wheels, "needs", "1.0", requires=["left<2", "numpy"])
    found = packages.resolve(("needs",), limits)
    assert [(one.name, one.version) for one in found] == [("left", "1.0"), ("needs", "1.0")]
    assert found[0].sha256 == hashlib.sha256(left.read_bytes()).hexdigest()
    packages.install(found, tmp_path / "target", limits)
    assert (tmp_path / "target" / "left.py").read_text() == "VERSION = '1.0'\n"
    assert not (tmp_path / "target" / "numpy").exists()


def test_another_file_than_the_one_shown_is_not_installed(limits: Limits, wheels: Path, tmp_path: Path) -> None:
    write_wheel(wheels, "left", "1.0")
    with pytest.raises(InvalidRequest, match="another file than the one that was shown"):
        packages.install((ResolvedPackage("left", "1.0", "0" * 64),), tmp_path / "target", limits)
    assert not (tmp_path / "target").exists()


def test_nothing_is_built_from_source(limits: Limits, wheels: Path, tmp_path: Path) -> None:
    """A source archive would run its setup.py."""
    import tarfile

    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
    with tarfile.open(wheels / "evil-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "evil-1.0/setup.py")
    with pytest.raises(InvalidRequest, match="cannot be installed"):
        packages.resolve(("evil",), limits)
    assert not (tmp_path / "pwned").exists()


def test_a_module_called_pip_in_the_way_is_not_run(limits: Limits, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wheel(wheels, "left", "1.0")
    for folder in (limits.folder, tmp_path / "path"):
        folder.mkdir(exist_ok=True)
        (folder / "pip.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    assert packages.resolve(("left",), limits)
    assert not (tmp_path / "pwned").exists()


def test_pythons_own_pip_serves_where_the_environment_has_none(limits: Limits, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wheel(wheels, "left", "1.0")
    find = packages.importlib.util.find_spec
    if not list(Path(os.fspath(Path(packages.importlib.util.__file__).parents[1])).glob("ensurepip/_bundled/pip-*.whl")):
        pytest.skip("this Python brings no pip")
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    assert packages.resolve(("left",), limits)[0].version == "1.0"
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidRequest, match="no pip here"):
        packages.resolve(("left",), limits)


def test_requirements_of_a_wheel_are_read_without_those_of_its_extras() -> None:
    text = "Metadata-Version: 2.1\nName: x\nRequires-Dist: left>=1\nRequires-Dist: right; extra == 'more'\n\nRequires-Dist: text\n"
    assert packages.required_by(text) == ("left>=1",)
    with pytest.raises(InvalidRequest, match="leads to an address"):
        packages.required_by("Requires-Dist: x @ https://evil.example/x.whl\n")
