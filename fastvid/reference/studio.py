"""The bench that all passes work at: network, recipe, frames in, results and records out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastvid.image import to_array, write_image
from fastvid.perceptual.vgg import VGGFeatures
from fastvid.reference.descent import OnIteration
from fastvid.reference.footage import Footage, tensor_of
from fastvid.reference.image import Painted, Recipe, paint_image
from fastvid.reference.methods import Plan
from fastvid.reference.objective import Losses
from fastvid.reference.paintings import Painting, blend_grams
from fastvid.reference.schedule import StyleSchedule
from fastvid.reference.state import State

log = logging.getLogger(__name__)


@dataclass
class Studio:
    """Everything that does not change from frame to frame.

    Attributes:
        vgg: network, on the device of the work.
        recipe: weights and optimiser.
        footage: source frames.
        paintings: style images.
        schedule: their weights over time.
        state: finished frames.
        device: of the work.
        num_passes: for messages.
        print_iter: iterations between lines in the log; 0 = silent.
        save_iter: iterations between intermediate images; 0 = none.
        save_init: keep the initialisations.
        keep_passes: keep the pictures of all passes, not of the last two.
        on_frame: called after each frame.
    """

    vgg: VGGFeatures
    recipe: Recipe
    footage: Footage
    paintings: Sequence[Painting]
    schedule: StyleSchedule
    state: State
    device: torch.device
    num_passes: int = 1
    print_iter: int = 0
    save_iter: int = 0
    save_init: bool = False
    keep_passes: bool = False
    on_frame: Callable[[], None] = lambda: None

    @property
    def num_frames(self) -> int:
        """Of the clip."""
        return len(self.footage.clip.numbers)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        return self.footage.clip.size

    def frame(self, index: int) -> Tensor:
        """Source frame at a position counted from 0, RGB (1, 3, H, W)."""
        return tensor_of(self.footage, index).to(self.device)

    def result(self, run: int, index: int) -> Tensor:
        """Finished frame of a pass counted from 1, RGB (1, 3, H, W)."""
        return self.state.image(run, self._number(index)).to(self.device)

    def is_done(self, run: int, index: int) -> bool:
        """Whether a frame is finished in this pass."""
        return self.state.has(run, self._number(index))

    def drop(self, run: int, index: int) -> None:
        """Free the picture of a pass that nothing looks at any more."""
        if not self.keep_passes:
            self.state.drop_image(run, self._number(index))

    def paint(self, run: int, index: int, plan: Plan, num_iterations: int) -> None:
        """Optimise a frame and keep it."""
        number, stamp = self._number(index), self.footage.clip.frames[index]
        name = f"frame {number}" + (
            f", pass {run}/{self.num_passes}" if self.num_passes > 1 else ""
        )
        time_s = float(stamp.pts * stamp.time_base)
        if self.save_init:
            self._save_picture(f"init-{number:06d}-pass{run:03d}", plan.start)
        painted = paint_image(
            self.vgg,
            self.recipe,
            plan.content,
            self._grams(time_s),
            plan.start,
            num_iterations,
            plan.anchors,
            self._reporter(name, f"{number:06d}-pass{run:03d}"),
        )
        record = {"frame": number, "pass": run, "time_s": time_s} | painted.as_dict()
        self.state.save(run, number, self.recipe.mode.kept(painted.image), record)
        _tell(name, painted)
        self.on_frame()

    def _number(self, index: int) -> int:
        return self.footage.clip.numbers[index]

    def _grams(self, time_s: float) -> Mapping[str, Tensor]:
        return blend_grams(self.paintings, self.schedule(time_s)) if self.paintings else {}

    def _reporter(self, name: str, stem: str) -> OnIteration:
        def report(iteration: int, pixels: Tensor, losses: Losses) -> None:
            if self.print_iter and iteration % self.print_iter == 0:
                log.info("%s: iteration %d, %s", name, iteration, _terms(losses))
            if self.save_iter and iteration % self.save_iter == 0:
                self._save_picture(f"{stem}-{iteration:05d}", pixels)

        return report

    def _save_picture(self, stem: str, pixels: Tensor) -> None:
        folder = self.state.folder / "iterations"
        folder.mkdir(exist_ok=True)
        image = to_array(self.recipe.mode.kept(self.recipe.mode.decode(pixels)))[0]
        write_image(folder / f"{stem}.png", image)


def _tell(name: str, painted: Painted) -> None:
    log.info(
        "%s: %d iterations in %.1f s (%s), total %.5g -> %.5g",
        name,
        painted.num_iterations,
        painted.seconds,
        painted.reason,
        painted.before.total,
        painted.after.total,
    )


def _terms(losses: Losses) -> str:
    return ", ".join(f"{name} {value:.5g}" for name, value in losses.as_dict().items())
