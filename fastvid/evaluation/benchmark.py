"""`fastvid benchmark`: networks against the slow optimiser and a yardstick, all in turns."""

import argparse
import re
import tempfile
from pathlib import Path

from fastvid.evaluation import training_speed
from fastvid.evaluation.contestants import STATISTICS
from fastvid.evaluation.report import Run, write_report
from fastvid.evaluation.sections import PLOTS, Sections
from fastvid.evaluation.speed import YARDSTICK
from fastvid.evaluation.table import show
from fastvid.files import check_target
from fastvid.nets import NAMES
from fastvid.runtime.stylizer import DEVICES, ENGINES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fastvid benchmark`."""
    parser.add_argument(
        "video", nargs="?", metavar="VIDEO", help="frames to paint; default: the clip of --demo"
    )
    parser.add_argument(
        "--nets",
        nargs="+",
        default=[name for name in NAMES if name != YARDSTICK],
        metavar="NET",
        help=f"{', '.join(NAMES)} (random weights), shipped styles or ONNX files; {YARDSTICK} "
        f"always runs too, with random weights unless a file STYLE.{YARDSTICK}.onnx is among them. "
        "The first one drives the whole program, and its painting is the optimiser's: name a "
        "trained one there",
    )
    parser.add_argument(
        "--sizes", nargs="+", default=["640x360"], metavar="WxH",
        help="the optimiser paints at the first one; default: 640x360",
    )  # fmt: skip
    parser.add_argument("--batches", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--rounds", type=int, default=12, help="default: %(default)s")
    parser.add_argument(
        "--frames",
        nargs="+",
        type=int,
        default=[1, 24, 72],
        metavar="N",
        help="lengths of the film for the whole program, 0 leaves it out; default: 1 24 72",
    )
    parser.add_argument(
        "--cores", action="store_true", help="each net on 1, 2, ... cores too, at the first size"
    )
    parser.add_argument(
        "--roofline", action="store_true",
        help="operations and bytes of each net beside the processor's measured peaks",
    )  # fmt: skip
    parser.add_argument(
        "--statistics", choices=STATISTICS, default=STATISTICS[0],
        help="of the nets: held over the frames, as infer.py does, or taken of each",
    )  # fmt: skip
    parser.add_argument("--style", metavar="IMAGE", help="the optimiser's painting")
    parser.add_argument(
        "--iterations",
        type=int,
        default=50,
        metavar="N",
        help="of the optimiser for a frame, 0 leaves it out; default: %(default)s",
    )
    parser.add_argument(
        "--optimizer-frames", type=int, default=3, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--optimizer-pixels",
        type=int,
        default=1_000_000,
        metavar="N",
        help="largest of --sizes at which the optimiser's cost is measured; default: %(default)s",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="iterations in which the optimiser may reach a net's loss; default: --iterations",
    )
    parser.add_argument("--init", choices=("random", "image"), default="random",
                        help="where the optimiser starts; default: %(default)s")  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")
    parser.add_argument(
        "--engine",
        nargs="+",
        choices=ENGINES,
        default=["onnxruntime"],
        metavar="ENGINE",
        help=f"{', '.join(ENGINES)}; several are compared with the first, which {YARDSTICK} and "
        "all other measurements run in; default: onnxruntime, which is float32 on a processor",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the plots into it")
    parser.add_argument(
        "--training", action="store_true", help="measure training steps instead of painting"
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=training_speed.PRECISIONS,
        default=[training_speed.PRECISIONS[0]],
        help="of --training; bf16-mixed is slow where the processor does not compute in it; "
        "default: 32-true",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """`fastvid benchmark`; tables go to stdout. Returns the exit code.

    Raises:
        ValueError, FileNotFoundError, RuntimeError: one line for people.
    """
    sizes = [_parse_size(text, args) for text in args.sizes]
    least = min([args.rounds, args.optimizer_frames - 1, *args.batches, args.limit or 1])
    if least < 1 or min([*args.frames, args.iterations]) < 0:
        args.usage_error(
            "--rounds, --batches and --limit take 1 or more, --optimizer-frames 2 or more, "
            "--frames and --iterations 0 or more"
        )
    drawn = [args.plots / name for name in PLOTS] if args.plots is not None else []
    for path in (args.json, args.markdown, *drawn):
        if path is not None:
            check_target(path, args.overwrite)
    clock = Run()
    if args.training:
        report, tables = training_speed.benchmark(
            args.nets, args.rounds, args.device, args.precision
        )
        show(tables[0].text())
    else:
        with tempfile.TemporaryDirectory(prefix="fastvid-benchmark-") as folder:
            sections = Sections(args, sizes, Path(folder))
            sections.run()
        report, tables = sections.report, sections.tables
        if args.plots is not None:
            sections.draw(args.plots)
    write_report(report, tables, clock, args.json, args.markdown)
    return 0


def _parse_size(text: str, args: argparse.Namespace) -> tuple[int, int]:
    """(H, W) of `WxH`."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or min(map(int, match.groups())) < 16:
        args.usage_error(f"--sizes: expected WIDTHxHEIGHT of at least 16x16, found {text!r}")
    assert match is not None
    return int(match[2]), int(match[1])
