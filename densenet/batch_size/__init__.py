"""Batch size, predicted: what a mini-batch knows of the gradient, and what that says of steps and samples."""

from __future__ import annotations

from densenet.batch_size.callback import NoiseScale
from densenet.batch_size.gradient_noise import GradientNoise, noise_scale
from densenet.batch_size.tradeoff import Tradeoff, fit_tradeoff

__all__ = ["GradientNoise", "NoiseScale", "Tradeoff", "fit_tradeoff", "noise_scale"]
