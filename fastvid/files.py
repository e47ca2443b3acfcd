"""Where results go: never over an existing file unasked, and complete or not at all."""

import os
import secrets
from pathlib import Path


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse a file that could not, or must not, be written; called before the work begins.

    Args:
        path: the file to be.
        overwrite: an existing file may be replaced.

    Raises:
        RuntimeError: it exists and may not be replaced, is a folder, or there is no folder for it.
    """
    if path.is_dir():
        raise RuntimeError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise RuntimeError(f"{path}: exists already; --overwrite replaces it")
    if not path.parent.is_dir():
        raise RuntimeError(f"{path}: there is no folder {path.parent}; make it first")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename; raises OSError."""
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """A new, empty, hidden file in the folder of `path`, with its suffix; raises OSError."""
    name = f".{path.stem[:60]}.{secrets.token_hex(4)}.part{path.suffix}"
    temporary = path.with_name(name)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary
