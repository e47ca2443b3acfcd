"""The hidden folder where the pieces of an unfinished film wait, and whose pieces they are."""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from fastvid.runtime.bulk.piece import Look, Network
from fastvid.runtime.bulk.plan import SEGMENT_FRAMES, Segment
from fastvid.runtime.gallery import find_models
from fastvid.runtime.report import versions, write_json
from fastvid.video import MediaError

try:
    import fcntl
except ImportError:  # Windows; two runs on one film are not told apart there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_PIECE = re.compile(r"\d{6}\.\w+")


class Folder:
    """`.NAME.parts` beside the target `NAME`.

    It holds `manifest.json` (what the pieces are of), `plan.json` once the whole film has been
    looked at, `lock`, and the finished pieces with their reports. One run at a time has it.

    Args:
        target: the film that the pieces will be joined to.

    Attributes:
        path: of the folder.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.parts")
        self._suffix = target.suffix
        self._lock: TextIO | None = None

    def open(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Take the folder, make it if there is none, and clear it of what has another identity.

        Args:
            identity: plain values that say what the pieces are made of and how.

        Returns:
            What `settle` has kept; empty for a new folder.

        Raises:
            MediaError: another run has it, or it cannot be written.
        """
        try:
            self.path.mkdir(exist_ok=True)
            self._take()
            manifest = _read(self.path / "manifest.json")
            before = manifest.get("identity", {})
            if before != identity:
                others = sorted(key for key in identity if before.get(key) != identity[key])
                if before:
                    log.warning(
                        "%s: begun anew, because what is there was made with other %s",
                        self.path,
                        " and ".join(others),
                    )
                manifest = {"identity": identity}
                self._clear(everything=True)
                write_json(self.path / "manifest.json", manifest)
            self._clear()
        except OSError as error:
            raise MediaError(f"{self.path}: cannot be written ({error.strerror})") from None
        settled: dict[str, Any] = manifest.get("settled", {})
        return settled

    def settle(self, values: Mapping[str, Any]) -> None:
        """Keep what has been decided on the way and must not be decided anew by another run."""
        manifest = _read(self.path / "manifest.json")
        write_json(self.path / "manifest.json", manifest | {"settled": values})

    def plan(self) -> tuple[list[Segment], dict[str, Any]] | None:
        """What `keep_plan` has kept; None where there is no complete plan yet."""
        kept = _read(self.path / "plan.json")
        if not kept:
            return None
        rows = [row | {"shots": tuple(row["shots"])} for row in kept["segments"]]
        return [Segment(**row) for row in rows], kept["reading"]

    def keep_plan(self, segments: list[Segment], reading: Mapping[str, Any]) -> None:
        """Keep the complete plan, and what was found wrong with the source on the way."""
        plan = {"segments": [asdict(segment) for segment in segments], "reading": reading}
        write_json(self.path / "plan.json", plan)

    def piece(self, index: int) -> Path:
        """The file of a segment; whole when it is there."""
        return self.path / f"{index:06}{self._suffix}"

    def is_done(self, index: int) -> bool:
        """Whether a segment has been painted; a crashed system may leave empty files."""
        piece = self.piece(index)
        return piece.is_file() and piece.stat().st_size > 0

    def close(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_leftover(self, target: Path) -> None:
        """Remove it where its pieces have been joined already: the run was killed right then."""
        pieces = [path for path in self.path.glob("*") if _PIECE.fullmatch(path.name)]
        joined_at = target.stat().st_mtime_ns
        if pieces and all(piece.stat().st_mtime_ns <= joined_at for piece in pieces):
            self.remove()

    def _take(self) -> None:
        self._lock = (self.path / "lock").open("w")
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise MediaError(f"{self.path}: another run is painting this film") from None

    def _clear(self, everything: bool = False) -> None:
        """Remove what a killed run has left half done; or all."""
        kept = {"lock"} if everything else {"lock", "manifest.json", "plan.json"}
        for path in self.path.iterdir():
            is_piece = _PIECE.fullmatch(path.name) is not None
            if path.name not in kept and (everything or not is_piece):
                path.unlink(missing_ok=True)


def identity_of(look: Look, network: Network) -> dict[str, Any]:
    """What pieces are made of and how, in plain values: pieces of equal identity are equal.

    Raises:
        MediaError: the source has gone.
        FileNotFoundError, ValueError: the style's network is not to be found.
    """
    source = look.info.path.resolve()
    try:
        status = source.stat()
    except OSError as error:
        raise MediaError(f"{source}: cannot be read ({error.strerror})") from None
    models = [
        [seconds, [[_sha256(path), share] for path, share in shares.items()]]
        for seconds, shares in find_models(network.style).items()
    ]
    options = asdict(look) | {"info": None, "segment_frames": SEGMENT_FRAMES}
    options |= {key: value for key, value in asdict(network).items() if key != "style"}
    identity = {
        "source data": [str(source), status.st_size, status.st_mtime_ns],
        "networks": models,
        "options": options,
        "versions": versions(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, or none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
