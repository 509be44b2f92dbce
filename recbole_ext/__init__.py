"""recbole_ext: models that learn how to learn, as a plugin for RecBole.

Importing this package registers its models with RecBole; after that RecBole's own functions, such
as ``recbole.quick_start.run_recbole(model="LambdaOptMF", dataset="ml-100k")``, know them.
"""

from recbole_ext.bilevel_settings import check_extended
from recbole_ext.data.checked_dataset import CheckedDataset
from recbole_ext.data.cold_start_dataset import ColdStartDataset
from recbole_ext.data.rating_dataset import RatingDataset
from recbole_ext.locations import PROPERTIES
from recbole_ext.model.lambdaoptmf import LambdaOptMF
from recbole_ext.model.mamo import MAMO
from recbole_ext.model.melu import MeLU
from recbole_ext.model.resnetmf import ResNetMF
from recbole_ext.quick_start import load_data_and_model, objective_function, run, run_recbole
from recbole_ext.registry import (
    Extension,
    install,
    known_models,
    register_extension,
    register_model,
)
from recbole_ext.trainer.bilevel import BilevelTrainer
from recbole_ext.trainer.meta import MetaTrainer

__version__ = "0.1.0"

__all__ = [
    "MAMO",
    "BilevelTrainer",
    "CheckedDataset",
    "ColdStartDataset",
    "LambdaOptMF",
    "MeLU",
    "MetaTrainer",
    "RatingDataset",
    "ResNetMF",
    "known_models",
    "load_data_and_model",
    "objective_function",
    "register_model",
    "run",
    "run_recbole",
]

install()
register_model(LambdaOptMF, trainer=BilevelTrainer, dataset=CheckedDataset)
register_model(MeLU, trainer=MetaTrainer, dataset=ColdStartDataset)
register_model(MAMO, trainer=MetaTrainer, dataset=ColdStartDataset)
register_model(ResNetMF, dataset=RatingDataset)
register_extension(
    "regularizer",
    Extension(
        trainer=BilevelTrainer,
        properties=PROPERTIES / "model" / "LambdaOptMF.yaml",
        check=check_extended,
        overrides={"reg_weight": 0.0},
    ),
)
