"""What the runtime takes: frames, and networks of the contract."""

import numpy as np

from fastvid.runtime.engines import onnx_cpu
from fastvid.runtime.engines.protocol import first_line

MIN_SIDE_PX = 16  # the smallest height and width that the exported networks promise to take


def check_frames(frames: np.ndarray) -> None:
    """Raise ValueError unless the frames are uint8 (N, H, W, 3) of at least 16x16."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"stylizer: expected uint8 frames (N, H, W, 3), got {frames.dtype} {frames.shape}"
        )
    h, w = frames.shape[1:3]
    if min(h, w) < MIN_SIDE_PX:
        raise ValueError(
            f"picture is {w}x{h} pixels, smaller than {MIN_SIDE_PX}x{MIN_SIDE_PX}; "
            "the networks need a larger one"
        )


def check_contract(model: bytes, name: str) -> dict[str, str]:
    """What the file says about itself, once it has painted a small frame on the CPU.

    Raises:
        ValueError: unless it takes `frames` and gives `stylized` as promised.
        RuntimeError: if it does not run.
    """
    try:
        session = onnx_cpu.open_session(model)
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        raise ValueError(
            f"{name} is no usable ONNX file ({first_line(error)}); export or download it again"
        ) from error
    found_in = [(arg.name, arg.type, arg.shape) for arg in session.get_inputs()]
    found_out = [(arg.name, arg.type, arg.shape) for arg in session.get_outputs()]
    for wanted, found in (("frames", found_in), ("stylized", found_out)):
        if len(found) != 1 or found[0][:2] != (wanted, "tensor(uint8)"):
            shown = ", ".join(f"{n} {t}" for n, t, _ in found) or "nothing"
            raise ValueError(
                f"{name} is not a fastvid network: expected {wanted} tensor(uint8), found {shown}"
            )
        shape = found[0][2]
        free = len(shape) == 4 and not any(isinstance(side, int) for side in shape[:3])
        if not free or shape[3] != 3:
            raise ValueError(
                f"{name} is not a fastvid network: expected {wanted} of shape (N, H, W, 3) with "
                f"N, H, W free, found {tuple(shape)}"
            )
    probe = np.zeros((1, MIN_SIDE_PX + 1, MIN_SIDE_PX + 3, 3), np.uint8)
    try:
        painted = session.run(["stylized"], {"frames": probe})[0]
    except Exception as error:  # ONNX Runtime's own errors share no narrower base
        raise RuntimeError(f"{name} does not run: {first_line(error)}") from error
    if painted.shape != probe.shape:
        raise ValueError(
            f"{name} is not a fastvid network: {probe.shape} went in, {painted.shape} came out"
        )
    return dict(session.get_modelmeta().custom_metadata_map)
