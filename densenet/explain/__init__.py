"""What explains a model: the gradient check, and why one weight changes."""

from __future__ import annotations

from densenet.explain.gradcheck import GradCheck, GradCheckRow, gradcheck

__all__ = ["GradCheck", "GradCheckRow", "gradcheck"]
