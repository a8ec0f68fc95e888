"""The explorer: a page in which a person touches a weight and sees why it changes.

The page is one file, without network, that computes for itself: forward and backward passes, routes, updates. Python
writes into it the model, some rows of the data and, where training was recorded, the weights at chosen steps.

`densenet` imports this package at once, so that the function may bear its name: what is heavy is loaded when a page is
made.
"""

from densenet.explore.explorer import Explorer, explore
from densenet.explore.recorder import Recorder

__all__ = ["Explorer", "Recorder", "explore"]
