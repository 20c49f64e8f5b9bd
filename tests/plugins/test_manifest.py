import os

import pytest

from webui.core.errors import InvalidRequest
from webui.plugins.manifest import Manifest, check_folder_name, check_program_version, checked_requirement, read_manifest

FULL = """
name = "Brighter"
version = "1.2"
description = "Makes pictures\\nbrighter."
author = "A. Nonymous"
homepage = "https://example.com/brighter"
tags = ["pictures", "colour"]
requires = ["left>=1", "numpy"]
hooks = ["picture_saved"]
min_version = "0.1"
max_version = "9"
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "brighter"
    path.mkdir()
    return path


def refusal(folder, **files):
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidRequest) as error:
        read_manifest(folder)
    return str(error.value)


def test_everything_in_the_manifest_is_read(folder):
    (folder / "extension.toml").write_text(FULL)
    assert read_manifest(folder) == Manifest(
        name="Brighter",
        version="1.2",
        description="Makes pictures brighter.",
        author="A. Nonymous",
        homepage="https://example.com/brighter",
        tags=("pictures", "colour"),
        requirements=("left>=1", "numpy"),
        hooks=("picture_saved",),
        min_version="0.1",
        max_version="9",
    )


def test_a_folder_without_a_manifest_is_called_as_the_folder(folder):
    assert read_manifest(folder) == Manifest(name="brighter")


def test_an_empty_manifest_says_nothing(folder):
    (folder / "extension.toml").write_text("")
    assert read_manifest(folder) == Manifest(name="brighter")


def test_a1111s_manifest_gives_the_name(folder):
    (folder / "metadata.ini").write_text("[Extension]\nName = Old %(one)s\nRequires = other\n[scripts]\nBefore = x\n")
    assert read_manifest(folder).name == "Old %(one)s"
    (folder / "metadata.ini").write_text("[Extension]\nName =\n")
    assert read_manifest(folder).name == "brighter"
    (folder / "extension.toml").write_text('name = "New one"')
    assert read_manifest(folder).name == "New one"


def test_requirements_txt_is_counted_beside_the_manifest(folder):
    (folder / "extension.toml").write_text('requires = ["left>=1"]')
    (folder / "requirements.txt").write_text("# what it needs\n\nright ==2  # because\nleft>=1\nwith-marker; python_version < '4'\n")
    assert read_manifest(folder).requirements == ("left>=1", "right==2", 'with-marker; python_version < "4"')


@pytest.mark.parametrize(
    "requirement",
    [
        "-e .",
        "--index-url https://evil.example/simple",
        "--extra-index-url=https://evil.example",
        "-r /etc/passwd",
        "https://evil.example/x.whl",
        "git+https://evil.example/x.git",
        "x @ https://evil.example/x.whl",
        "x @ file:///tmp/x.whl",
        "./wheels/x.whl",
        "/tmp/x.whl",
        "x --global-option=--no",
        "x --hash=sha256:00",
        "x \\",
        "",
    ],
)
def test_requirements_that_lead_elsewhere_are_refused(folder, requirement):
    with pytest.raises(InvalidRequest, match=r"^The requirement '.*' (is an option|cannot be read|leads to an address)"):
        checked_requirement(requirement)
    if requirement:
        assert refusal(folder, requirements__txt=f"fine\n{requirement}\n").startswith("The requirement")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "extension.toml cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
        ("naem = 'x'", "Did you mean 'name'"),
        ("name = 3", "name of the extension is '3'"),
        ("name = ''", "name is empty"),
        ("name = 'a\\u001bb'".replace("'", '"'), "printable"),
        (f"description = '{'x' * 2001}'", "at most 2000"),
        ("tags = 'one'", "list"),
        ("tags = [1]", "tags of the extension is '1'"),
        (f"tags = {['x'] * 201}", "at most 200"),
        ("version = 'new'", "version is 'new'"),
        ("max_version = '1.x'", "max_version"),
        ("homepage = 'javascript:alert(1)'", "homepage"),
        ("requires = ['-e .']", "option for pip"),
        ("requirements = ['x']", "requires"),
        (b"name = '\xff'", "not UTF-8"),
        ("#" * 65537, "larger than 64 KiB"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_reason(folder, text, says):
    assert says in refusal(folder, extension__toml=text)


def test_a_damaged_a1111_manifest_is_refused_with_its_reason(folder):
    assert "metadata.ini cannot be read" in refusal(folder, metadata__ini="Name = x")


def test_more_packages_than_anybody_needs_are_refused(folder):
    assert "201 packages" in refusal(folder, requirements__txt="\n".join(f"p{number}" for number in range(201)))


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system opens links")
def test_a_manifest_that_is_a_link_or_a_pipe_is_not_read(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("name = 'secret'")
    (folder / "extension.toml").symlink_to(secret)
    assert "plain file" in refusal(folder)
    (folder / "extension.toml").unlink()
    os.mkfifo(folder / "extension.toml")
    assert "plain file" in refusal(folder)
    (folder / "extension.toml").unlink()
    (folder / "extension.toml").mkdir()
    assert "plain file" in refusal(folder)


@pytest.mark.parametrize("name", ["a", "sd-webui-controlnet", "A1.b_c", "x" * 64])
def test_names_that_every_system_takes_are_folders(name):
    assert check_folder_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-rf", "a:b", "a b", "a.", "é", "con", "NUL.txt", "x" * 65, "a\n", "a\0b", "_x"],
)
def test_other_names_are_refused(name):
    with pytest.raises(InvalidRequest, match="cannot be the name"):
        check_folder_name(name)


def test_an_extension_for_other_versions_of_the_program_is_refused():
    check_program_version(Manifest("x", min_version="1.0", max_version="2.0"), "1.5")
    check_program_version(Manifest("x"), "0.1.0")
    with pytest.raises(InvalidRequest, match=r"needs version 1\.10 .* this is 1\.9"):
        check_program_version(Manifest("x", min_version="1.10"), "1.9")
    with pytest.raises(InvalidRequest, match=r"works up to version 1\.9 .* this is 1\.10"):
        check_program_version(Manifest("x", max_version="1.9"), "1.10")
