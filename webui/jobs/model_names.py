"""Names under which model files are written: no paths, nothing hidden, nothing replaced by accident."""

from __future__ import annotations

from pathlib import Path

from webui.core.errors import InvalidRequest
from webui.jobs.filenames import MAX_NAME_BYTES, safe_name


def check_name(field: str, name: str) -> None:
    """Raises InvalidRequest for a name that is no plain file name on every system.  field: whose value it is."""
    if not name or safe_name(name) != name:
        raise InvalidRequest(
            f"{field}: got {name[:120]!r}; a file's name has no / \\ : * ? \" < > | #, no dot at its beginning, no dot or space at its "
            f"end, and at most {MAX_NAME_BYTES} bytes. Give another."
        )


def check_free(target: Path, *, overwrite: bool) -> None:
    """Raises InvalidRequest for a name that is taken, unless it may be replaced; what is no plain file is never replaced."""
    if not (target.exists() or target.is_symlink()):
        return
    if not overwrite:
        raise InvalidRequest(f"There is already a {target.name} in {target.parent.name}/. Give another name, or allow it to be replaced.")
    if target.is_symlink() or not target.is_file():
        raise InvalidRequest(f"{target.name} in {target.parent.name}/ is a link or a folder, which is never replaced. Give another name.")
