"""Implementations of the operators ``torch.ops.hypercomp``, and the choice between them.

* ``choice``: which path a call takes, and why. All thresholds are there;
* ``paths``: the record of the path that a call took, and ``explain``, which returns it;
* ``direct``: products that call the core without torch's dispatcher;
* ``cpu``: the operators on the CPU;
* ``blocks``: products of many vectors, with a weight that is decoded block by block;
* ``ahead``: weights that are decoded while the layer before them computes;
* ``scratch``: memory for decoded weights, which the next call uses again;
* ``cuda``: the operators on CUDA devices.
"""
