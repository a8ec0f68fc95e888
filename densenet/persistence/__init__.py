"""Model files, checkpoints, and conversion from and to other libraries."""

from __future__ import annotations

from densenet._files import CheckpointError
from densenet.persistence.codec import register
from densenet.persistence.models import check_savable, load, save_model
from densenet.persistence.onnx_graph import to_onnx
from densenet.persistence.sklearn_mlp import from_sklearn
from densenet.persistence.torch_modules import from_torch, to_torch

__all__ = [
    "CheckpointError",
    "check_savable",
    "from_sklearn",
    "from_torch",
    "load",
    "register",
    "save_model",
    "to_onnx",
    "to_torch",
]
