"""Train a network from one painting: python train.py style=starry_night [key=value ...]."""

from __future__ import annotations

import logging
import os
import re
import sys

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvid.config import TrainConfig

ConfigStore.instance().store("base_train", TrainConfig)


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> None:
    """Compose, train, and print the path of the exported network as the last line of stdout."""
    level = logging.INFO if _is_first_process() else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, TrainConfig)
    from fastvid.training.run import InterruptedRun, train  # after composition: it takes seconds

    try:
        path = train(config)
    except InterruptedRun as stop:
        print(stop, file=sys.stderr)
        sys.exit(130)
    except (OSError, RuntimeError, ValueError) as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if path is not None:
        print(path)


def _is_first_process() -> bool:
    """Whether this is the only process of the run, or the one that speaks for all of them."""
    # Set by torchrun; by Lightning, or for it by hand; by SLURM.
    ranks = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let its errors through to the line below
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        # Hydra's further lines are its search path, and how to add keys that would mean nothing.
        text = re.split("Config search path|To append to your config", str(error))[0]
        print("error: " + " ".join(text.split()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
