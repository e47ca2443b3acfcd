"""Frames through a session of ONNX Runtime by IO binding: each crosses the bus once."""

import copy
import threading

import numpy as np
import onnxruntime as ort

# While one thread records a CUDA graph, no other may allocate or copy on the card: both would fail.
# So all that is done there takes turns.
CARD = threading.Lock()
_RECORDING_RUNS = 3  # the graph is recorded in one of the first, once the memory is laid out


def paint(session: ort.InferenceSession, frames: np.ndarray, device: str) -> np.ndarray:
    """Paint uint8 RGB frames (N, H, W, 3) on a device, `cuda` or `cpu`, in new buffers."""
    with CARD:
        binding = session.io_binding()
        bound = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(frames), device, 0)
        binding.bind_ortvalue_input("frames", bound)
        binding.bind_output("stylized", device, 0)
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]


class FixedBuffers:
    """A session that reads and writes the same memory every time.

    A CUDA graph knows its input and output by their addresses: it would paint the first frame
    again for every buffer that it has not been recorded with.
    """

    def __init__(
        self, session: ort.InferenceSession, shape: tuple[int, ...], device: str = "cuda"
    ) -> None:
        """Bind the buffers and run a few times, after which a graph is recorded.

        Args:
            session: takes `frames` and gives `stylized`, both of the shape.
            shape: of the frames, (N, H, W, 3).
            device: `cuda`, or `cpu`.
        """
        self._session, self._shape = session, shape
        self._on_host: tuple[ort.OrtValue, ort.OrtValue] | None = None
        with CARD:
            self._input, self._output = (
                ort.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, device, 0)
                for _ in range(2)
            )
            self._binding = session.io_binding()
            self._binding.bind_ortvalue_input("frames", self._input)
            self._binding.bind_ortvalue_output("stylized", self._output)
            self._input.update_inplace(np.zeros(shape, np.uint8))
            for _ in range(_RECORDING_RUNS):
                session.run_with_iobinding(self._binding)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Paint frames of the shape; the painting is a copy.

        Raises:
            ValueError: the frames have another shape or type.
        """
        if frames.shape != self._shape or frames.dtype != np.uint8:
            raise ValueError(
                f"buffers: expected uint8 frames {self._shape}, got {frames.dtype} {frames.shape}"
            )
        with CARD:
            if self._on_host is None:
                self._input.update_inplace(frames)
                self._session.run_with_iobinding(self._binding)
                return self._output.numpy().copy()
            before, after = self._on_host
            before.numpy()[:] = frames
            self._input.update_inplace(before)
            self._session.run_with_iobinding(self._binding)
            after.update_inplace(self._output)
            return after.numpy().copy()

    def page_locked(self) -> "FixedBuffers":
        """The same buffers on the card, filled and read by way of page-locked memory.

        The card reads such memory by itself, where the driver copies other memory piece by piece.

        Raises:
            RuntimeError: there is no such memory here.
            TypeError: this ONNX Runtime is too old to give it out.
        """
        other = copy.copy(self)
        with CARD:
            other._on_host = _page_locked(self._shape), _page_locked(self._shape)
        return other


def _page_locked(shape: tuple[int, ...]) -> ort.OrtValue:
    where = ort.OrtMemoryInfo(
        "CudaPinned", ort.OrtAllocatorType.ORT_DEVICE_ALLOCATOR, 0, ort.OrtMemType.CPU_OUTPUT
    )
    try:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, memory_info=where)
    except RuntimeError:  # nobody has asked for any yet
        ort.create_and_register_allocator_v2(
            "CUDAExecutionProvider", where, {}, ort.OrtArenaCfg(0, -1, -1, -1)
        )
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, memory_info=where)
