"""`fastvid evaluate`: measure a stylised clip against its source, or networks by themselves."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastvid.evaluation import curve, probes, strip
from fastvid.evaluation.card import card_scores, command_line, read_card, write_scores
from fastvid.evaluation.clips import Clip, expand, frame_pairs
from fastvid.evaluation.contestants import FULL, STATISTICS, Contestant, Net, Painters, find_nets
from fastvid.evaluation.judge import load_judge
from fastvid.evaluation.measure import Measured, Scores, describe, measure_clip
from fastvid.evaluation.report import (
    Run,
    clip_table,
    headline_table,
    mean_scores,
    probe_table,
    provenance,
    write_report,
)
from fastvid.evaluation.table import Table, show
from fastvid.files import check_target, write_atomically
from fastvid.image import read_image, write_image
from fastvid.motion import scenes
from fastvid.motion.flow import ESTIMATORS
from fastvid.runtime.loading import load
from fastvid.runtime.stylizer import DEVICES, ENGINES, Device, EngineName
from fastvid.video.stills import OUTPUT_IMAGE_SUFFIXES

log = logging.getLogger(__name__)

PROBE_SCENE = "scene:demo"
PLOT = "stability_style.svg"
# Of a network's metadata: what it is. Its settings are long, and its scores are of another run.
FACTS = ("title", "artist", "licence", "net", "step", "git_revision")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid evaluate`."""
    parser.add_argument(
        "clips",
        nargs="*",
        metavar="CLIP",
        help="SOURCE and STYLIZED; with --net any number of sources, which it then paints. "
        f"scene:NAME is a generated clip with exact flow ({', '.join(scenes.NAMES)}; scene:all); "
        "holdout:all the films in the data folder that no network was trained on",
    )
    parser.add_argument(
        "--net", nargs="+", metavar="STYLE", help="measure networks: shipped styles or FILE.onnx"
    )
    parser.add_argument(
        "--statistics",
        nargs="+",
        choices=STATISTICS,
        default=[STATISTICS[0]],
        help="of --net: held over the clip, as infer.py does, or taken of each frame, or both; "
        "default: shot",
    )
    parser.add_argument(
        "--strengths",
        nargs="+",
        type=float,
        default=[FULL],
        metavar="S",
        help="of --net, above 0 and at most 1: the curve of stability against style",
    )
    parser.add_argument(
        "--style",
        metavar="IMAGE",
        help="the painting, for style_distance; default with --net: each network's own",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help=f"draw {PLOT} into it")
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
        "--cards",
        action="store_true",
        help="put the figures of each --net on its card, in the place of earlier ones; those of "
        "the first of --statistics at full strength; and a strip of frames beside it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--flow", choices=sorted(ESTIMATORS), default="dis", help="default: dis")
    parser.add_argument("--frames", type=int, metavar="N", help="measure the first N frames only")
    parser.add_argument("--height", type=int, metavar="PX", help="scale all clips to PX rows")
    parser.add_argument("--image", metavar="FILE", help="picture to probe --net with")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="for --net")
    parser.add_argument(
        "--engine", choices=ENGINES, default="onnxruntime",
        help="for --net; auto takes the fastest, and with it perhaps another one in the next run, "
        "whose figures differ a little; default: onnxruntime",
    )  # fmt: skip
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """`fastvid evaluate`; the tables go to stdout. Returns the exit code.

    Raises:
        ValueError, FileNotFoundError, RuntimeError: one line for people, see the functions above.
    """
    _check_usage(args)
    clock = Run()
    report, tables = _measure_pair(args) if args.net is None else _measure_nets(args)
    write_report(report, tables, clock, args.json, args.markdown)
    return 0


def _check_usage(args: argparse.Namespace) -> None:
    """Everything that can be refused before the work."""
    if args.net is None and len(args.clips) != 2:
        args.usage_error("give SOURCE and STYLIZED, or --net STYLE with any number of sources")
    ways = len(args.net or [""]) * len(set(args.statistics)) * len(set(args.strengths))
    for option, what, most in (("picture", "one clip", 1), ("strip", "frames of clips", 99)):
        if getattr(args, option) is not None and args.net is not None:
            if ways > 1 or not 1 <= len(expand(args.clips)) <= most:
                args.usage_error(f"--{option} shows {what}: give a source, and --net with one net")
    if args.frames is not None and args.frames < 1:
        args.usage_error(f"--frames is {args.frames}, expected 1 or more")
    if not all(0 < strength <= 1 for strength in args.strengths):
        args.usage_error(f"--strengths are {args.strengths}, expected above 0 and at most 1")
    if args.cards and (args.net is None or not args.clips or FULL not in args.strengths):
        args.usage_error("--cards takes figures of --net STYLE at strength 1 on a source or more")
    if args.plots is not None and (args.net is None or len(set(args.strengths)) < 2):
        args.usage_error("--plots draws the curve of --net STYLE at two --strengths or more")
    for path in (args.picture, args.strip):
        if path is not None and path.suffix.lower() not in OUTPUT_IMAGE_SUFFIXES:
            args.usage_error(f"{path.name}: expected {', '.join(OUTPUT_IMAGE_SUFFIXES)}")
    plot = args.plots and args.plots / PLOT
    for path in (args.json, args.markdown, args.picture, args.strip, plot):
        if path is not None:
            check_target(path, args.overwrite)


def _measure_pair(args: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Two clips, whoever made the second."""
    source, stylized = (Clip(text, args.frames, args.height) for text in expand(args.clips))
    name = stylized.name
    style = None if args.style is None else read_image(args.style)
    measured = measure_clip(
        source,
        ((frame, {name: painted}) for frame, painted in frame_pairs(source, stylized)),
        [name],
        styles={} if style is None else {name: style},
        judge=load_judge(required=style is not None),
        flow_method=args.flow,
    )
    scores = measured.scores[name]
    heading = f"{name} against {source.name}: {describe(scores)}"
    show(f"{heading}\n\n{clip_table(scores)}")
    if args.picture is not None:
        write_image(args.picture, measured.picture(name))
    if args.strip is not None:
        strip.write_strip(args.strip, strip.draw_strip(strip.columns_of(source, stylized, 1)))
    report = scores | {"stylized": name, "style_image": args.style and Path(args.style).name}
    return report, [headline_table(heading, {name: scores})]


def _measure_nets(args: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Networks on clips that they paint now, and on the probes."""
    nets = find_nets(args.net, args.style)
    cards = {net.label: net.path.with_suffix(".json") for net in nets} if args.cards else {}
    for path in cards.values():
        read_card(path)  # what is wrong with it is said before the work
    contestants = [
        Contestant(net, statistics, strength)
        for net in nets
        for statistics in dict.fromkeys(args.statistics)
        for strength in dict.fromkeys(args.strengths)
    ]
    report: dict[str, Any] = {"nets": [_probe_net(net, args) for net in nets], "results": []}
    tables = [_probe_table(report["nets"])]
    show(tables[0].text())
    by_clip = _paint_and_measure(contestants, args)
    for contestant in contestants if by_clip else ():
        clips = [scores[contestant.name] for scores in by_clip]
        result = {
            "net": contestant.net.label,
            "statistics": contestant.statistics,
            "strength": contestant.strength,
        }
        report["results"].append(result | _means(clips) | {"clips": clips})
    if by_clip:
        tables += _result_tables(contestants, by_clip, report["results"])
        found = curve.curves(report["results"])
        if found:
            report["curves"] = found
            tables.append(curve.curve_table(found))
            if args.plots is not None:
                write_atomically(args.plots / PLOT, curve.curve_plot(found).encode())
    for table in tables[1:]:
        show(table.text())
    for label, path in cards.items():
        write_scores(path, card_scores(report | provenance(), label, command_line(args)))
    return report, tables


def _paint_and_measure(
    contestants: Sequence[Contestant], args: argparse.Namespace
) -> list[dict[str, Scores]]:
    """Scores by contestant, of every clip."""
    texts = expand(args.clips)
    if not texts:
        return []
    styles = {c.name: c.net.painting for c in contestants if c.net.painting is not None}
    judge = load_judge(required=bool(styles))
    painters = Painters(contestants, args.device, args.engine)
    strips = _strips(contestants, args)
    shown: dict[str, list[strip.Column]] = {contestant.name: [] for contestant, _, _ in strips}
    chosen = strip.chosen_clips(texts)
    measured: list[Measured] = []
    for index, text in enumerate(texts):
        clip = Clip(text, args.frames, args.height)
        log.info("clip %d of %d: %s", index + 1, len(texts), clip.name)
        painters.adapt(clip)
        measured.append(
            measure_clip(
                clip,
                ((frame, painters.paint(frame)) for frame in clip.frames()),
                [contestant.name for contestant in contestants],
                styles=styles,
                judge=judge,
                flow_method=args.flow,
            )
        )
        for contestant in contestants if index in chosen else ():
            if contestant.name in shown:
                stylizer = painters.stylizer_of(contestant)
                shown[contestant.name] += strip.columns_of(clip, stylizer, len(chosen))
        if len(contestants) == 1:
            (scores,) = measured[-1].scores.values()
            show(f"{contestants[0].name}, {clip.name}: {describe(scores)}\n\n{clip_table(scores)}")
    if args.picture is not None:
        write_image(args.picture, measured[0].picture(contestants[0].name))
    for contestant, path, max_bytes in strips:
        strip.write_strip(path, strip.draw_strip(shown[contestant.name]), max_bytes)
    return [clip.scores for clip in measured]


def _strips(
    contestants: Sequence[Contestant], args: argparse.Namespace
) -> list[tuple[Contestant, Path, int]]:
    """Whose paintings a strip is made of, where to, and of how many bytes at most."""
    strips = []
    if args.strip is not None:
        strips.append((contestants[0], args.strip, strip.MAX_BYTES))
    for net in {contestant.net.label: contestant.net for contestant in contestants}.values():
        if args.cards:
            first = next(c for c in contestants if c.net is net and c.strength == FULL)
            strips.append((first, net.path.with_suffix(".strip.jpg"), strip.CARD_BYTES))
    return strips


def _probe_net(net: Net, args: argparse.Namespace) -> dict[str, Any]:
    """Probes of a network, and what it is."""
    image = next(Clip(PROBE_SCENE).frames()) if args.image is None else read_image(args.image)
    return {
        "net": net.label,
        "style_image": net.style_image,
        "probe_image": PROBE_SCENE if args.image is None else Path(args.image).name,
        **probe_net(net.path, image, args.device, args.engine),
    }


def probe_net(
    style: str | Path, image: np.ndarray, device: Device, engine: EngineName
) -> dict[str, Any]:
    """Probes of a network.

    Args:
        style: name of a shipped style, or an ONNX file.
        image: uint8 (H, W, 3), the picture to ask with.
        device: `auto`, `cpu` or `cuda`.
        engine: see `fastvid.runtime.loading.load`.

    Returns:
        `engine`, `device`, `net_metadata`, `probes` (statistics of each frame) and `probes_adapted`
        (those of the picture held constant, as after `Stylizer.adapt`).
    """
    stylizer = load(style, device, engine)
    per_frame = probes.probe_scores(stylizer, image)
    stylizer.adapt(image[None])
    metadata = stylizer.metadata
    return {
        "engine": stylizer.engine,
        "device": stylizer.device,
        "net_metadata": {name: metadata[name] for name in FACTS if name in metadata},
        "probes": per_frame,
        "probes_adapted": probes.probe_scores(stylizer, image),
    }


def _means(clips: Sequence[Scores]) -> dict[str, Any]:
    """`mean` over the films, or over the scenes where there is no film; `mean_scenes` beside it."""
    made = [clip for clip in clips if clip["flow_method"] == "exact"]
    films = [clip for clip in clips if clip["flow_method"] != "exact"]
    found = {"mean": mean_scores(films or made)}
    return found | {"mean_scenes": mean_scores(made)} if films and made else found


def _probe_table(nets: Sequence[Mapping[str, Any]]) -> Table:
    columns: dict[str, Mapping[str, float]] = {}
    for net in nets:
        columns[f"{net['net']}, per frame"] = net["probes"]
        columns[f"{net['net']}, adapted"] = net["probes_adapted"]
    return probe_table(f"Probes on {nets[0]['probe_image']}, {nets[0]['engine']}", columns)


def _result_tables(
    contestants: Sequence[Contestant],
    by_clip: Sequence[Mapping[str, Scores]],
    results: Sequence[Mapping[str, Any]],
) -> list[Table]:
    """Means over the clips, then every clip."""
    names = [contestant.name for contestant in contestants]
    counts = {True: 0, False: 0}
    for scores in by_clip:
        counts[scores[names[0]]["flow_method"] == "exact"] += 1
    kinds = {"mean": f"{counts[False]} films" if counts[False] else f"{counts[True]} scenes",
             "mean_scenes": f"{counts[True]} scenes"}  # fmt: skip
    tables = [
        headline_table(
            f"Means over {what}",
            {name: result[key] for name, result in zip(names, results, strict=True)},
        )
        for key, what in kinds.items()
        if key in results[0]
    ]
    for scores in by_clip:
        first = scores[names[0]]
        tables.append(headline_table(f"{first['source']}, {describe(first)}", scores))
    return tables
