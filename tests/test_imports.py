"""The borders between the rooms of the package: who loads what, and who imports whom."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_nets import invert_net, write
from tiny_clips import write_clip

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fastvid"
HEAVY = ("torch", "pytorch_lightning", "hydra", "omegaconf")
ALL_WATCHED = (*HEAVY, "cv2", "av", "onnx", "onnxruntime", "numpy")

# The few files that import a library, and nobody else does.
OWNERS = {
    "cv2": {"image.py"},
    "av": {"video"},
    "hydra": {"train.py", "optimize.py"},  # the entry points
}


def loaded_by(code, *argv):
    """Which of the watched libraries are loaded when a fresh interpreter has run the code."""
    tail = f"\nimport sys; print(*[m for m in {ALL_WATCHED!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *argv],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@functools.cache
def imported_names(path):
    """Every module that a file imports, anywhere in it, type-checking blocks left out."""
    names = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_importing_the_package_loads_nothing():
    assert loaded_by("import fastvid; fastvid.load, fastvid.stylize") == set()


def test_the_command_starts_without_loading_anything_heavy():
    assert loaded_by("import fastvid.__main__ as m; m.overview()") == set()


@pytest.mark.parametrize("options", [[], ["--realtime"]])
def test_painting_a_film_loads_neither_torch_nor_opencv(tmp_path, options):
    clip = write_clip(tmp_path / "clip.mp4", 3)
    model = write(tmp_path / "net.onnx", invert_net())
    code = "import sys; from fastvid.runtime.cli import main; assert main(sys.argv[1:]) == 0"
    words = (str(clip), "--model", str(model), "--height", "32", *options)
    loaded = loaded_by(code, *words, "-o", str(tmp_path / "out.mp4"))
    assert loaded == {"av", "numpy", "onnx", "onnxruntime"}


RUNTIME = {
    path.relative_to(PACKAGE / "runtime").as_posix(): path
    for path in sorted((PACKAGE / "runtime").rglob("[a-z]*.py"))
}


@pytest.mark.parametrize("name", RUNTIME)
def test_the_runtime_names_no_training_library(name):
    found = imported_names(RUNTIME[name])
    assert not {n for n in found if n.split(".")[0] in (*HEAVY, "torchvision")}


def test_few_files_of_the_runtime_need_opencv():
    users = {n for n, path in RUNTIME.items() if "fastvid.image.load_cv2" in imported_names(path)}
    # A camera, a window, and optical flow: each only where it is asked for.
    assert users == {"live/camera.py", "live/window.py", "steady.py"}


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owners_alone(library):
    importers = set()
    for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("*.py")]:
        if any(name.split(".")[0] == library for name in imported_names(path)):
            inside = path.is_relative_to(PACKAGE)
            relative = path.relative_to(PACKAGE if inside else ROOT)
            owner = relative.as_posix()
            importers.add(relative.parts[0] if relative.parts[0] in OWNERS[library] else owner)
    assert importers <= OWNERS[library]


# From the top of the building to the ground; a room imports from rooms further down.
FLOORS = [
    {"__main__", "optimize", "download"},
    {"training", "reference", "evaluation", "runtime"},
    {"export", "checkpoint"},
    {"nets", "perceptual", "motion"},
    {"image", "video"},
    {"files", "config"},
]


def test_imports_point_downwards():
    floor_of = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in floor_of, f"{room} has no floor yet: add it to FLOORS"
        for name in imported_names(path):
            parts = name.split(".")
            if parts[0] != "fastvid" or len(parts) < 2 or parts[1] not in floor_of:
                continue
            if floor_of[parts[1]] < floor_of[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong
