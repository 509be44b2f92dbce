"""The hyper-parameters of ResNetMF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole_ext.resnetmf.towers import NETS
from recbole_ext.settings.declared import FLAG, Declared, one_of, real, whole


@dataclass(frozen=True)
class ResNetMFSettings(Declared):
    """How a rating is computed from the embeddings of a user and an item."""

    net: Annotated[
        str,
        one_of(*NETS),
        "The towers over the embeddings. `linear` has none, `mlp` has ReLU and a dense layer, "
        "`resnet` has two residual blocks.",
    ]
    embedding_size: Annotated[int, whole(1), "The embedding size of users and items."]
    hidden_size: Annotated[int, whole(1), "The size of the towers' dense layers."]
    dropout_prob: Annotated[
        float,
        real(minimum=0, below=1),
        "The dropout of `net: resnet`. It acts within the blocks and between them.",
    ]
    biases: Annotated[
        bool,
        FLAG,
        "Whether users and items have a bias. The biases come on top of the mean training rating.",
    ]
    clip_predictions: Annotated[
        bool, FLAG, "Whether `predict` keeps within the range of the training ratings."
    ]
