"""`fastvid evaluate`: measure a stylised clip against its source, or a network by itself."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation import probes, strip
from fastvid.evaluation.card import card_scores, command_line, read_card, write_scores
from fastvid.evaluation.clips import Clip, expand, frame_pairs, scene_motion
from fastvid.evaluation.metrics import CONTENT_LAYERS, GAPS, STYLE_LAYERS, ClipMeter
from fastvid.evaluation.pairs import CERTAINTY_RULE, MASK_THRESHOLD
from fastvid.evaluation.report import clip_table, mean_scores, probe_table, provenance
from fastvid.files import check_target
from fastvid.image import read_image, write_image
from fastvid.motion import scenes
from fastvid.motion.flow import ESTIMATORS
from fastvid.perceptual.vgg import (
    VGGFeatures,
    candidate_files,
    layer_index,
    load_vgg,
    read_weights,
)
from fastvid.runtime.report import write_json
from fastvid.runtime.stylizer import DEVICES, Device, Stylizer, load
from fastvid.video.stills import OUTPUT_IMAGE_SUFFIXES

log = logging.getLogger(__name__)

PROBE_SCENE = "scene:demo"
ADAPT_FRAMES = 4  # of the clip, evenly spread; four are enough to fix its statistics
Scores = dict[str, Any]


def load_judge(required: bool) -> tuple[VGGFeatures, str] | None:
    """VGG-19 for `style_distance` and `content_distance`, and the name of its weights.

    The first weights found that reach `STYLE_LAYERS`; relu4_2 is included where they have it.

    Args:
        required: download where nothing is found, or fail; otherwise return None.

    Raises:
        FileNotFoundError: if required and neither found nor downloaded.
    """
    index = layer_index("vgg19")
    for path in candidate_files("vgg19", Path(os.environ.get("FASTVID_DATA", "data"))):
        weights = read_weights(path, "vgg19")
        reached = {n for n in index if f"features.{index[n]}.weight" in weights.tensors}
        if reached.issuperset(STYLE_LAYERS):
            extra = [name for name in CONTENT_LAYERS if name in reached]
            return VGGFeatures([*STYLE_LAYERS, *extra], weights), path.name
    if not required:
        log.warning("no VGG-19 weights found: content_distance is left out")
        return None
    return load_vgg([*STYLE_LAYERS, *CONTENT_LAYERS]), "vgg19 of torchvision"


def evaluate_clip(
    source: Clip,
    stylized: Clip | Stylizer,
    *,
    style_image: np.ndarray | None = None,
    judge: tuple[VGGFeatures, str] | None = None,
    gaps: Sequence[int] = GAPS,
    flow_method: str = "dis",
    picture: Path | None = None,
) -> Scores:
    """Scores of one clip, with what they were measured by.

    Args:
        source: the clip that was, or is to be, painted.
        stylized: the painted clip, or a network that paints each frame now.
        style_image: uint8 (H, W, 3) of the painting.
        judge: see `load_judge`; without it nothing is said about style and content.
        gaps: distances between the frames of a pair.
        flow_method: "dis" or "raft"; a generated scene has its exact flow instead.
        picture: where to draw the error, the worst pair and a row through time.

    Raises:
        ValueError: if counts or sizes of the clips differ, or a clip is too short for a picture.
        MediaError: if a clip cannot be read.
    """
    scene = source.scene
    meter = ClipMeter(gaps, flow_method, scene_motion(scene) if scene else None)
    rows = None
    if picture is not None:
        from fastvid.evaluation.picture import RowSlice

        rows = RowSlice()
    for frame, painted in frame_pairs(source, stylized):
        meter.update(frame, painted)
        if rows is not None:
            rows.update(frame, painted)
    vgg, weights = judge or (None, None)
    scores: Scores = {"source": source.name, "stylized": stylized.name}
    scores |= meter.scores(style_image, vgg)
    scores |= {"certainty_rule": CERTAINTY_RULE if scene is None else "exact"}
    scores |= {"mask_threshold": MASK_THRESHOLD, "vgg_weights": weights}
    pairs = meter.stability.pairs.get("gap1", [])
    worst = meter.stability.worst
    scores["worst_pair"] = [worst.error.prev, worst.error.cur] if worst else None
    scores["series_gap1_output"] = [round(pair.output_mse**0.5, 6) for pair in pairs]
    scores["series_gap1_source"] = [round(pair.source_mse**0.5, 6) for pair in pairs]
    if picture is not None and rows is not None:
        from fastvid.evaluation.picture import draw_clip

        title = f"{scores['stylized']} against {scores['source']}"
        write_image(picture, draw_clip(meter, rows, title, _subtitle(scores)))
    return scores


def probe_net(style: str | Path, image: np.ndarray, device: Device = "auto") -> Scores:
    """Probes of a network and what it is.

    Args:
        style: name of a shipped style, or an ONNX file.
        image: uint8 (H, W, 3), the picture to ask with.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        `net`, `engine`, `device`, `net_metadata`, `probes` (per frame) and `probes_adapted` (the
        statistics of the picture held constant, as after `Stylizer.adapt`).
    """
    stylizer = load(style, device)
    per_frame = probes.probe_scores(stylizer, image)
    stylizer.adapt(image[None])
    return {
        "net": stylizer.name,
        "engine": stylizer.engine,
        "device": stylizer.device,
        "net_metadata": dict(stylizer.metadata),
        "probes": per_frame,
        "probes_adapted": probes.probe_scores(stylizer, image),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid evaluate`."""
    parser.add_argument(
        "clips",
        nargs="*",
        metavar="CLIP",
        help="SOURCE and STYLIZED; with --net any number of sources, which it then paints. "
        f"scene:NAME is a generated clip with exact flow ({', '.join(scenes.NAMES)}; scene:all)",
    )
    parser.add_argument(
        "--net", metavar="STYLE", help="measure a network: a shipped style or FILE.onnx"
    )
    parser.add_argument("--style", metavar="IMAGE", help="the painting, for style_distance")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw error, worst pair, a row over time"
    )
    parser.add_argument(
        "--strip",
        type=Path,
        metavar="FILE.jpg",
        help="frames of the clips, source above painting, at most 600 KB",
    )
    parser.add_argument(
        "--card",
        type=Path,
        metavar="FILE.json",
        help="put the figures of --net on its card, in the place of earlier ones",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--flow", choices=sorted(ESTIMATORS), default="dis", help="default: dis")
    parser.add_argument("--frames", type=int, metavar="N", help="measure the first N frames only")
    parser.add_argument("--height", type=int, metavar="PX", help="scale all clips to PX rows")
    parser.add_argument(
        "--adapt",
        action="store_true",
        help="hold the network's statistics at those of the clip instead of painting per frame",
    )
    parser.add_argument("--image", metavar="FILE", help="picture to probe --net with")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="for --net")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """`fastvid evaluate`; the table goes to stdout. Returns the exit code.

    Raises:
        ValueError, FileNotFoundError, RuntimeError: one line for people, see the functions above.
    """
    if args.net is None and len(args.clips) != 2:
        args.usage_error("give SOURCE and STYLIZED, or --net STYLE with any number of sources")
    if args.picture is not None and (args.net is not None and len(args.clips) != 1):
        args.usage_error("--picture shows one clip: give exactly one source with --net")
    if args.frames is not None and args.frames < 1:
        args.usage_error(f"--frames is {args.frames}, expected 1 or more")
    if args.card is not None and (args.net is None or not args.clips):
        args.usage_error("--card takes figures of --net STYLE on at least one source")
    if args.strip is not None and not args.clips:
        args.usage_error("--strip shows frames of clips: give at least one source")
    for path in (args.picture, args.strip):
        if path is not None and path.suffix.lower() not in OUTPUT_IMAGE_SUFFIXES:
            args.usage_error(f"{path.name}: expected {', '.join(OUTPUT_IMAGE_SUFFIXES)}")
    for path in (args.json, args.picture, args.strip):
        if path is not None:
            check_target(path, args.overwrite)
    if args.card is not None:
        read_card(args.card)  # what is wrong with it is said before the work
    style_image = None if args.style is None else read_image(args.style)
    report = (
        _measure_pair(args, style_image) if args.net is None else _measure_net(args, style_image)
    )
    report["style_image"] = None if args.style is None else Path(args.style).name
    report |= provenance()
    if args.json is not None:
        write_json(args.json, report)
    if args.card is not None:
        write_scores(args.card, card_scores(report, command_line(args)))
        if style_image is None:
            log.warning("%s: without --style IMAGE there is no style_distance", args.card)
    return 0


def _measure_pair(args: argparse.Namespace, style_image: np.ndarray | None) -> Scores:
    source, stylized = (Clip(text, args.frames, args.height) for text in args.clips)
    scores = evaluate_clip(
        source,
        stylized,
        style_image=style_image,
        judge=load_judge(required=style_image is not None),
        flow_method=args.flow,
        picture=args.picture,
    )
    _show(f"{stylized.name} against {source.name}: {_subtitle(scores)}", clip_table(scores))
    if args.strip is not None:
        strip.write_strip(args.strip, strip.draw_strip(strip.columns_of(source, stylized, 1)))
    return scores


def _measure_net(args: argparse.Namespace, style_image: np.ndarray | None) -> Scores:
    image = next(Clip(PROBE_SCENE).frames()) if args.image is None else read_image(args.image)
    report = probe_net(args.net, image, args.device)
    report["probe_image"] = PROBE_SCENE if args.image is None else Path(args.image).name
    columns = {"per frame": report["probes"], "adapted": report["probes_adapted"]}
    _show(f"{report['net']} on {report['engine']}", probe_table(columns))
    report["clips"] = []
    shown: list[strip.Column] = []
    texts = expand(args.clips)
    chosen = strip.chosen_clips(len(texts)) if args.strip is not None else set()
    judge = load_judge(required=style_image is not None) if texts else None
    for index, text in enumerate(texts):
        clip = Clip(text, args.frames, args.height)
        stylizer = load(args.net, args.device)
        if args.adapt:
            stylizer.adapt(clip.spread_frames(ADAPT_FRAMES))
        scores = evaluate_clip(
            clip,
            stylizer,
            style_image=style_image,
            judge=judge,
            flow_method=args.flow,
            picture=args.picture,
        )
        scores["adapted"] = args.adapt
        _show(f"{clip.name}: {_subtitle(scores)}", clip_table(scores))
        report["clips"].append(scores)
        if index in chosen:
            shown += strip.columns_of(clip, stylizer, len(chosen))
    if texts:
        report["mean"] = mean_scores(report["clips"])
    if len(texts) > 1:
        means = ", ".join(f"{name} {value:.3f}" for name, value in report["mean"].items())
        _show(f"mean of {len(texts)} clips", means)
    if args.strip is not None:
        strip.write_strip(args.strip, strip.draw_strip(shown))
    return report


def _subtitle(scores: Mapping[str, Any]) -> str:
    rule = f"{scores['certainty_rule']} > {scores['mask_threshold']}"
    return (
        f"{scores['width_px']}x{scores['height_px']}, {scores['frames']} frames, "
        f"flow {scores['flow_method']}, mask {rule}"
    )


def _show(title: str, body: str) -> None:
    """The result of the command, to stdout."""
    sys.stdout.write(f"{title}\n\n{body}\n\n")
    sys.stdout.flush()
