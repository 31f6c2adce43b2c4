"""The proof of the kernels without a GPU; docs/gpu.md says what it proves."""
