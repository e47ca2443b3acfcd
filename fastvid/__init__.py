"""Paint films: fast, steady neural style transfer for video.

    stylizer = fastvid.load("starry_night")
    painted = stylizer(frames)  # uint8 (N, H, W, 3) RGB in and out
    fastvid.stylize("film.mp4", "painted.mp4", style="starry_night")

Importing costs nothing: every function loads what it needs when it is called.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from fastvid.runtime.report import Report
    from fastvid.runtime.stylizer import OnnxStylizer

__all__ = ["list_styles", "load", "stylize"]


def load(
    style: str | Path = "starry_night",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    engine: Literal["auto", "onnxruntime", "openvino", "tensorrt"] = "auto",
    tile_px: int | None = None,
) -> "OnnxStylizer":
    """The stylizer of a shipped style or of an ONNX file; see `fastvid.runtime.loading.load`."""
    from fastvid.runtime import loading

    return loading.load(style, device, engine, tile_px)


def stylize(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    **options: Any,
) -> "Report":
    """Paint a film, an image or a sequence of images: `infer.py` as a function.

    Args:
        source: video file, image, folder of images, printf or glob pattern of images.
        target: what to write; None is `<stem>.<style>.<ext>` beside the source.
        **options: `style`, `strength`, `keep_colors`, `height_px`, `work_height_px`,
            `start_s`, `end_s`, `side_by_side`, `statistics`, `device`, `engine`, `tile_px`,
            `crf`, `preset`, `codec`, `audio`, `overwrite`, `stylizer`, `on_progress`; see
            `fastvid.runtime.pipeline.stylize`.
    """
    from fastvid.runtime import pipeline

    return pipeline.stylize(source, target, **options)


def list_styles() -> dict[str, dict[str, Any]]:
    """Names of the shipped styles, each with its card."""
    from fastvid.runtime import gallery

    return gallery.list_styles()
