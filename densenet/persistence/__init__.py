"""What is kept: model files, checkpoints, and the formats of other libraries."""

from __future__ import annotations

from densenet.persistence.codec import register
from densenet.persistence.files import CheckpointError
from densenet.persistence.models import load, save_model

__all__ = ["CheckpointError", "load", "register", "save_model"]
