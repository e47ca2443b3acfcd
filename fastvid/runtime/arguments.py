"""The arguments of `infer.py`, and what is wrong with a call by itself."""

import argparse
import inspect
import math
import re
from pathlib import Path

from fastvid.runtime.console import Parser
from fastvid.runtime.contract import MIN_SIDE_PX
from fastvid.runtime.film import STATISTICS
from fastvid.runtime.gallery import DEFAULT_STYLE, find_models
from fastvid.runtime.pipeline import stylize
from fastvid.runtime.stylizer import DEVICES, ENGINES
from fastvid.video.stills import is_image, is_sequence

CAMERA = re.compile(r"camera:(\d+)")

# Options of the command that are arguments of `stylize`, with its own defaults.
_OPTIONS = (
    "strength keep_colors height_px start_s end_s side_by_side steady statistics crf preset codec "
    "hardware audio overwrite"
).split()


def make_parser() -> Parser:
    """The parser of `infer.py`; defaults are those of `pipeline.stylize`."""
    parser = Parser(
        prog="infer.py",
        description="Paint films and images in the style of a painting.",
        epilog="Exit code: 0 all was painted, 1 something was not, 2 wrong usage, 130 Ctrl-C (what "
        "was painted so far is kept as NAME.partial.EXT). A damaged source is painted as far as "
        "it can be read, and counts as a failure.",
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="a video, an image, a folder, a printf or glob pattern of images, camera:0",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="file, or folder for several inputs; default: "
        "INPUT's name with the style's, beside INPUT",
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--style",
        default=DEFAULT_STYLE,
        help="a shipped style, or several with shares: "
        "starry_night:0.7,the_scream:0.3, or one after the other by the second of the film, "
        "starry_night@0,the_scream@4; default: %(default)s",
    )
    which.add_argument("--model", metavar="FILE.onnx", type=Path, help="a network of your own")
    look = parser.add_argument_group("look")
    look.add_argument(
        "--strength", type=float, metavar="0..1", help="blend with the source: 0 source, 1 painting"
    )
    look.add_argument(
        "--keep-colors", action="store_true", help="the painting's luma, the source's colours"
    )
    look.add_argument(
        "--height", dest="height_px", type=int, metavar="PX",
        help="rows to paint and to write; default: the source's",
    )  # fmt: skip
    look.add_argument(
        "--work-height", dest="work_height_px", type=int, metavar="PX",
        help="rows to paint only: the painting is enlarged along the source's edges",
    )  # fmt: skip
    look.add_argument(
        "--side-by-side", action="store_true", help="source and painting in one picture"
    )
    look.add_argument(
        "--steady", action="store_true",
        help="smooth the painting over time along the source's motion; takes time and OpenCV",
    )  # fmt: skip
    look.add_argument(
        "--statistics", choices=STATISTICS,
        help="what the normalisation is held at: a few frames of each shot, or every frame's own, "
        "as for images; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--realtime", action="store_true",
        help="play one film at its own pace as a camera would, dropping frames where the machine "
        "is too slow: into a window, or with -o into a file",
    )  # fmt: skip
    parser.add_argument(
        "--virtual-camera", action="store_true",
        help="show a camera's or a --realtime film's painting to other programs as a camera; "
        "needs the extra live",
    )  # fmt: skip
    parser.add_argument("--start", dest="start_s", type=float, metavar="S", help="from this second")
    parser.add_argument("--end", dest="end_s", type=float, metavar="S", help="up to this second")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")
    parser.add_argument(
        "--engine", choices=ENGINES, default="auto",
        help="default: the fastest that works here; onnxruntime paints in float32, int8 within "
        "40 dB of that, openvino is an extra",
    )  # fmt: skip
    parser.add_argument(
        "--tile", dest="tile_px", type=int, metavar="PX",
        help="paint larger pictures in tiles of this side: less memory, more time, equal pixels",
    )  # fmt: skip
    out = parser.add_argument_group("output")
    out.add_argument("--crf", type=float, metavar="N", help="quality, lower is better")
    out.add_argument(
        "--preset", metavar="P", help="ultrafast to veryslow; default: veryfast for H.264"
    )
    out.add_argument("--codec", metavar="C", help="FFmpeg's name of the encoder; default: H.264")
    out.add_argument(
        "--hardware", action="store_true",
        help="decode, and without --codec encode, on the machine's video hardware where that works",
    )  # fmt: skip
    out.add_argument("--audio", choices=("copy", "aac", "none"), help="default: %(default)s")
    out.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    out.add_argument("--report", type=Path, metavar="FILE.json", help="figures of the run")
    bulk = parser.add_argument_group("bulk: films in pieces, kept when the run is stopped")
    bulk.add_argument(
        "--workers", dest="num_workers", type=int, metavar="N", help="paint N pieces at a time"
    )
    bulk.add_argument(
        "--ray", metavar="ADDRESS",
        help="paint on this Ray cluster, or one that is started here: local; needs the extra ray",
    )  # fmt: skip
    parser.add_argument("--demo", action="store_true", help="paint a clip made here; needs no file")
    parser.add_argument("--verbose", action="store_true", help="more messages, tracebacks")
    parameters = inspect.signature(stylize).parameters
    parser.set_defaults(**{name: parameters[name].default for name in _OPTIONS})
    return parser


def check_usage(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse what is wrong with the call itself, before anything is opened."""
    if bool(args.inputs) == args.demo:
        parser.error(
            "give at least one INPUT, or --demo" if not args.demo else "--demo has no INPUT"
        )
    if not 0 <= args.strength <= 1:
        parser.error(f"--strength is {args.strength}, expected 0 to 1")
    for name, pixels in (
        ("--height", args.height_px),
        ("--work-height", args.work_height_px),
        ("--tile", args.tile_px),
    ):
        if pixels is not None and pixels < MIN_SIDE_PX:
            parser.error(f"{name} is {pixels}, expected at least {MIN_SIDE_PX}")
    for name, value in (("--start", args.start_s), ("--end", args.end_s)):
        if value is not None and not 0 <= value < math.inf:
            parser.error(f"{name} is {value}, expected seconds from the beginning")
    if args.end_s is not None and args.end_s <= (args.start_s or 0):
        parser.error(f"--end {args.end_s} is not after --start {args.start_s or 0}")
    cameras = [text for text in args.inputs if CAMERA.fullmatch(text)]
    if cameras and len(args.inputs) > 1:
        parser.error(f"{cameras[0]} cannot be mixed with other inputs")
    if cameras and args.start_s:
        parser.error("--start has no meaning for a camera; --end says how long to record")
    if args.virtual_camera and not (args.realtime or cameras):
        parser.error("--virtual-camera goes with camera:0 or --realtime")
    if args.realtime:
        films = [text for text in args.inputs if not CAMERA.fullmatch(text)]
        if len(args.inputs) != 1 or not films:
            found = ", ".join(args.inputs) or "--demo"
            parser.error(f"--realtime plays exactly one film, not {found}")
        if Path(films[0]).is_dir() or is_sequence(Path(films[0])) or is_image(Path(films[0])):
            parser.error(f"--realtime plays a film; {films[0]} is none")
    if args.num_workers is not None and args.num_workers < 1:
        parser.error(f"--workers is {args.num_workers}, expected at least 1")
    if (args.num_workers or args.ray) and (args.demo or args.realtime or cameras):
        parser.error("--workers and --ray paint films from files, not --demo or live")
    if (args.num_workers or args.ray) and args.hardware:
        parser.error(
            "--hardware goes without --workers and --ray: pieces are joined, so one encoder has to "
            "make them all; --codec names one"
        )
    if (args.num_workers or args.ray) and args.steady:
        parser.error("--steady looks back at the frame before; it goes without --workers and --ray")
    if args.model is None:
        try:
            moments = find_models(args.style)
        except ValueError as error:
            parser.error(str(error))
        if len(moments) > 1 and (cameras or args.realtime):
            parser.error(f"--style {args.style} follows the clock of a film; live there is none")
