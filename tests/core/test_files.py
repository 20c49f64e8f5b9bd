from pathlib import Path

import pytest

from webui.core.files import written_whole


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.pt"
    with pytest.raises(IsADirectoryError), written_whole(file, overwrite=False) as temporary:
        (temporary.write_bytes(b"half"), tmp_path.read_bytes())
    assert list(file.parent.iterdir()) == []
    with written_whole(file, overwrite=False) as temporary:
        temporary.write_bytes(b"whole")
        assert not file.exists()
    assert file.read_bytes() == b"whole"
    assert list(file.parent.iterdir()) == [file]


def test_a_name_that_was_taken_meanwhile_is_overwritten_only_when_that_is_wished(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    for overwrite, left in ((False, b"another's"), (True, b"mine")):
        file.unlink(missing_ok=True)
        try:
            with written_whole(file, overwrite=overwrite) as temporary:
                temporary.write_bytes(b"mine")
                file.write_bytes(b"another's")
        except FileExistsError:
            assert not overwrite
        assert file.read_bytes() == left
        assert list(tmp_path.iterdir()) == [file]
