"""From the name of a style to what paints in it."""

from pathlib import Path

from fastvid.runtime.engines.choice import Device, EngineName
from fastvid.runtime.gallery import DEFAULT_STYLE, Models, find_models, name_of
from fastvid.runtime.graph.mixing import mix_networks
from fastvid.runtime.stylizer import OnnxStylizer, Stylizer
from fastvid.runtime.transition import TransitionStylizer


def load(
    style: str | Path = DEFAULT_STYLE,
    device: Device = "auto",
    engine: EngineName = "auto",
    tile_px: int | None = None,
) -> OnnxStylizer:
    """The stylizer of a shipped style, of an ONNX file, or of a mixture of them.

    Args:
        style: a name of `fastvid.list_styles()`, the path of an ONNX file, or several names with
            shares, `starry_night:0.7,the_scream:0.3`.
        device: `auto`, `cpu` or `cuda`; see `OnnxStylizer`.
        engine: `auto`, `onnxruntime`, `int8`, `openvino` or `tensorrt`.
        tile_px: see `OnnxStylizer`.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the style is unknown, the file is no network of the contract, the styles of
            a mixture are networks of different shape, or the style changes over time.
        RuntimeError: if the device or engine asked for would not run the network.
    """
    moments = find_models(style)
    if len(moments) > 1:
        raise ValueError(f"style {style!r} changes over time; it paints films, not single frames")
    (models,) = moments.values()
    return OnnxStylizer(_network(models), name_of(moments), device, engine, tile_px)


def load_for_film(
    style: str | Path = DEFAULT_STYLE,
    device: Device = "auto",
    engine: EngineName = "auto",
    tile_px: int | None = None,
) -> Stylizer:
    """As `load`, and a transition over time too: `starry_night@0,the_scream@4`."""
    moments = find_models(style)
    if len(moments) == 1:
        return load(style, device, engine, tile_px)
    networks = {seconds: _network(models) for seconds, models in moments.items()}
    first = OnnxStylizer(next(iter(networks.values())), name_of(moments), device, engine, tile_px)
    return TransitionStylizer(first, networks)


def _network(models: Models) -> bytes:
    files = [path.read_bytes() for path in models]
    return files[0] if len(files) == 1 else mix_networks(files, list(models.values()))
