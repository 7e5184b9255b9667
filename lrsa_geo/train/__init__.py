"""Training, testing and predicting: Lightning's loop around a surrogate."""

from lrsa_geo.train.config import (
    DataConfig,
    OptimConfig,
    SplitConfig,
    TrainConfig,
    TrainerConfig,
    add_config_arguments,
    config_from,
    find_config,
    load_config,
    save_config,
)
from lrsa_geo.train.evaluate import evaluate, load_surrogate, predict, result_fields
from lrsa_geo.train.folder import resumable_run, unused_run
from lrsa_geo.train.metrics import relative_l2
from lrsa_geo.train.module import NonFiniteLossError, SurrogateModule
from lrsa_geo.train.run import train
from lrsa_geo.train.surrogate import ModelConfig, Signature, Surrogate

__all__ = [
    "DataConfig",
    "ModelConfig",
    "NonFiniteLossError",
    "OptimConfig",
    "Signature",
    "SplitConfig",
    "Surrogate",
    "SurrogateModule",
    "TrainConfig",
    "TrainerConfig",
    "add_config_arguments",
    "config_from",
    "evaluate",
    "find_config",
    "load_config",
    "load_surrogate",
    "predict",
    "relative_l2",
    "result_fields",
    "resumable_run",
    "save_config",
    "train",
    "unused_run",
]
