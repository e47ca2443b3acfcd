"""What a run has done so far, on disk: killed, it goes on with at most one frame lost."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastvid.files import write_atomically

log = logging.getLogger(__name__)


class State:
    """A folder beside the target. The record of a frame is written last: it says "done".

    Attributes:
        folder: where.
        resumed: whether an earlier run with the same settings was found.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Open or make the folder; one of a run with other settings is cleared.

        Args:
            folder: where.
            identity: everything that the results depend on, plain values.
        """
        self.folder = folder
        text = json.dumps(identity, sort_keys=True)
        content = {"run": hashlib.sha256(text.encode()).hexdigest(), "settings": identity}
        mark = folder / "run.json"
        self.resumed = False
        if mark.is_file() and json.loads(mark.read_text()).get("run") != content["run"]:
            log.warning("%s is of a run with other settings; starting anew", folder)
            shutil.rmtree(folder)
        elif mark.is_file():
            self.resumed = True
            log.info("going on with %s", folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(mark, json.dumps(content, indent=1).encode())

    def save(self, run: int, number: int, image: Tensor, record: Mapping[str, Any]) -> None:
        """Keep a finished frame.

        Args:
            run: pass, counted from 1.
            number: of the frame.
            image: what the following frames see of it, RGB float (1, 3, H, W).
            record: its losses, plain values.
        """
        data = io.BytesIO()
        np.save(data, image.detach().cpu().numpy())
        write_atomically(self._path(run, number, "npy"), data.getvalue())
        write_atomically(self._path(run, number, "json"), json.dumps(dict(record)).encode())

    def has(self, run: int, number: int) -> bool:
        """Whether this frame is done."""
        return self._path(run, number, "json").is_file()

    def image(self, run: int, number: int) -> Tensor:
        """RGB float (1, 3, H, W) of a finished frame.

        Raises:
            FileNotFoundError: it was not done, or has been dropped since.
        """
        path = self._path(run, number, "npy")
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: the result of frame {number} in pass {run} is not there any more (of "
                "past passes the last two are kept, all with keep_state=true); continue later or "
                f"remove {self.folder} to start anew"
            )
        return torch.from_numpy(np.load(path))

    def record(self, run: int, number: int) -> dict[str, Any]:
        """Losses of a finished frame."""
        found: dict[str, Any] = json.loads(self._path(run, number, "json").read_text())
        return found

    def records(self) -> list[dict[str, Any]]:
        """Of all finished frames, by pass and number."""
        return [json.loads(p.read_text()) for p in sorted(self.folder.glob("pass*/*.json"))]

    def forget(self, run: int, number: int) -> None:
        """Take back that this frame is done."""
        self._path(run, number, "json").unlink(missing_ok=True)

    def drop_image(self, run: int, number: int) -> None:
        """Free the disk of a picture that nothing looks at any more; its record stays."""
        self._path(run, number, "npy").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, run: int, number: int, suffix: str) -> Path:
        folder = self.folder / f"pass{run:03d}"
        folder.mkdir(exist_ok=True)
        return folder / f"{number:06d}.{suffix}"
