"""What the tests of `fastvid evaluate` share: the command and clips for it."""

import argparse
import json

import numpy as np
import onnx
from onnx import TensorProto, helper

from fastvid.evaluation import evaluate
from fastvid.image import write_image

SIZE = (48, 64)


def write_frames(folder, frames):
    folder.mkdir()
    for index, frame in enumerate(frames):
        write_image(folder / f"{index:03d}.png", frame)
    return str(folder)


def texture_clip(frames=4, step_px=1):
    random = np.random.default_rng(0)
    wide = random.integers(60, 190, (SIZE[0] // 4, (SIZE[1] + 40) // 4, 3))
    wide = wide.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    return np.stack([wide[:, t * step_px : t * step_px + SIZE[1]] for t in range(frames)])


def negative_net(path):
    """A network of the contract that paints the negative."""
    shape = ["n", "h", "w", 3]
    graph = helper.make_graph(
        [helper.make_node("Sub", ["white", "frames"], ["stylized"])],
        "negative",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, shape)],
        [helper.make_tensor("white", TensorProto.UINT8, [], [255])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return str(path)


def command(*words):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args([str(word) for word in words]))


def without_clock(path):
    """A report as text, less the one key in which two runs may differ."""
    report = json.loads(path.read_text())
    assert set(report.pop("run")) == {"began_utc", "wall_s"}
    return json.dumps(report)
