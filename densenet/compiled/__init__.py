"""The training loop as machine code: the NumPy lines once more, without Python between them.

Small networks spend their time in calls from Python, not in arithmetic. With the extra ``[fast]`` (numba) a fit may run
here instead: every layer, loss and optimizer rule has a kernel that quotes the file and the equation it mirrors
(`layers`, `losses`, `updates`), a `plan` puts them in order for one model, and one driver goes through the order for
every mini-batch. The NumPy lines stay the reference: from the same state both give the same numbers up to rounding, and
they run whatever has no kernel, and the reason is given.

`offer` decides; `machine` compiles kernels and loads them; `cache` keeps them in files. Only the kernels' own modules
import numba, and only when something has to be compiled.
"""
