from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf

from fastvid.config import TrainConfig
from fastvid.nets import NAMES, build_net
from fastvid.training.build import STYLES_FOLDER
from fastvid.training.run import check

CONFIGS = Path(__file__).parents[1] / "configs"


def composed(*overrides: str) -> TrainConfig:
    ConfigStore.instance().store("base_train", TrainConfig)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", overrides=list(overrides)))
    assert isinstance(config, TrainConfig)
    return config


@pytest.mark.parametrize("group", ["style", "net", "loss", "flow", "data", "trainer", "perceptual"])
def test_every_choice_of_a_group_composes(group):
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        overrides = [f"{group}={path.stem}"]
        if path.stem == "custom":
            overrides.append("style.image=mine.jpg")
        config = composed(*overrides)
        check(config)
        if group == "net":
            assert config.net.name in NAMES
            build_net(config.net.name, config.net.settings)


def test_every_experiment_composes_and_has_the_last_word():
    for path in sorted((CONFIGS / "experiment").glob("*.yaml")):
        check(composed(f"experiment={path.stem}"))
    assert composed("experiment=smoke").max_steps == 4
    assert composed("experiment=smoke", "max_steps=7").max_steps == 7


def test_training_starts_from_the_base_network_where_one_is_shipped():
    assert composed().init_weights == "shipped"
    assert composed("init=scratch").init_weights is None
    assert composed("init=scratch").max_steps > composed().max_steps
    assert composed("experiment=base").init_weights is None
    shipped = {path.stem for path in STYLES_FOLDER.glob("*.safetensors")}
    for name in NAMES:
        assert (composed(f"net={name}").init_weights == "shipped") == (name in shipped)


def test_misspelt_key_stops_composition_and_is_named():
    with pytest.raises(HydraException, match="max_stps"):
        composed("max_stps=5")


def test_unknown_style_lists_the_choices():
    with pytest.raises(HydraException, match="starry_night"):
        composed("style=stary_night")


def test_wrong_type_is_refused():
    with pytest.raises(HydraException, match="max_steps"):
        composed("max_steps=many")


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("max_steps=0", "max_steps"),
        ("still_fraction=2", "still_fraction"),
        ("data.crop_px=62", "crop_px"),
        ("data.height_px=100", "height_px"),
        ("data.kind=cloud", "synthetic"),
    ],
)
def test_impossible_values_are_named(override, names):
    with pytest.raises(ValueError, match=names):
        check(composed(override))
