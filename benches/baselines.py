"""The published searches, which are in the extension of a checkout and not in the wheel."""

import sys

from hypercomp_rs import _core


def published(search, method):
    """The numbers of vertices, cobases and pivots of "moss", "criss-cross" or "fractions"."""
    if not hasattr(_core, "baseline_vertices"):
        sys.exit(
            "The extension was built without the published searches: run this benchmark by "
            "`make bench-vertices`, or build with `maturin develop --release --features baselines`"
        )
    return _core.baseline_vertices(search, method=method)
