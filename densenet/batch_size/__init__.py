"""Batch size, predicted: what a mini-batch knows of the gradient, and what that says of steps, samples and seconds."""

from __future__ import annotations

from densenet.batch_size.noise_scale import GradientNoise, noise_scale

__all__ = ["GradientNoise", "noise_scale"]
