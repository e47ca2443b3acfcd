import numpy as np
import torch
from metric_clips import measure, pan, panning_clip, texture, tiny_vgg

from fastvid.evaluation.metrics import Comparison


def test_paintings_measured_together_score_as_they_do_alone():
    source, style, vgg = panning_clip(5), texture(seed=7), tiny_vgg()
    rng = np.random.default_rng(8)
    painted = {
        "negative": 255 - source,
        "noisy": (source + rng.normal(0, 9, source.shape)).clip(0, 255).astype(np.uint8),
    }
    together = Comparison(painted, (1, 4), motion=pan(2))
    for t, frame in enumerate(source):
        together.update(frame, {name: frames[t] for name, frames in painted.items()})
    found = together.scores({"noisy": style}, vgg)
    for name, image in (("negative", None), ("noisy", style)):
        alone = measure(source, painted[name], pan(2), gaps=(1, 4)).scores(image, vgg)
        assert found[name] == alone
    assert "style_distance" in found["noisy"]
    assert "style_distance" not in found["negative"]  # it has no style image


def test_what_depends_on_the_source_alone_is_worked_out_once():
    source, style, vgg = panning_clip(4), texture(seed=7), tiny_vgg()
    calls = {"motion": 0, "vgg": 0}
    motion, forward = pan(2), vgg.forward

    def counted_motion(*words):
        calls["motion"] += 1
        return motion(*words)

    def counted_forward(images):
        calls["vgg"] += 1
        return forward(images)

    vgg.forward = counted_forward
    names = [f"net{i}" for i in range(5)]
    together = Comparison(names, (1,), motion=counted_motion)
    for frame in source:
        together.update(frame, {name: 255 - frame for name in names})
    together.scores(dict.fromkeys(names, style), vgg)
    assert calls["motion"] == 3 + 2  # three neighbours, two more to the first frame
    assert calls["vgg"] == 1 + 4 + 4 * 5  # style image, sources, paintings


def test_measuring_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        measure(panning_clip(3), panning_clip(3), pan(2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
