"""`python -m fastvid COMMAND`, installed as `fastvid`; each command is loaded when it is called."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from fastvid.runtime.console import USAGE, Parser, run_command

# Command: its module, which has `add_arguments(parser)` and `run(args) -> exit code`; what it does.
COMMANDS = {
    "styles": ("fastvid.runtime.gallery", "list the shipped styles"),
    "sheet": ("fastvid.evaluation.sheet", "paint the same frames in every style, on one sheet"),
    "export": ("fastvid.export", "write a checkpoint as an ONNX file"),
    "download": ("fastvid.download", "fetch paintings and VGG weights"),
    "optimize": ("fastvid.optimize", "stylise by optimisation, slowly: the reference"),
    "evaluate": ("fastvid.evaluation.evaluate", "measure a stylised clip, or a network"),
    "benchmark": ("fastvid.evaluation.benchmark", "time networks and the whole program"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done; 1: failed, said in one line `error: ...`; 2: wrong usage; 130: Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(overview())
        return 0 if words else USAGE
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        choices = ", ".join(COMMANDS)
        sys.stderr.write(f"error: unknown command {name!r}; choices: {choices}{hint}\n")
        return USAGE
    module, summary = COMMANDS[name]
    parser = Parser(prog=f"fastvid {name}", description=f"{summary.capitalize()}.")
    parser.add_argument("--verbose", action="store_true", help="more messages, tracebacks")
    verbose = "--verbose" in rest

    def command(console: object) -> int:
        room = importlib.import_module(module)
        room.add_arguments(parser)
        return int(room.run(parser.parse_intermixed_args(rest)))

    return run_command(command, verbose)


def overview() -> str:
    """The list of commands."""
    lines = [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fastvid COMMAND [options]; fastvid COMMAND --help says more",
            "",
            *lines,
            "",
            "Painting is done by infer.py, training by train.py.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
