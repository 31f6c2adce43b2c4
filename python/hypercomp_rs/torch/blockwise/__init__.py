"""Calibration of models that do not fit in memory, one block after the other.

The modules, in the order in which they are used:

* ``texts``: the samples, as tokens;
* ``parts``: weights of a part of a model, read from a checkpoint and removed again;
* ``outline``: the model without weights, its list of blocks, and what each block is called with;
* ``states``: what blocks give, in memory or in a file;
* ``compression``: the loop over the blocks.
"""
