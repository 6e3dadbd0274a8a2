"""Kernels that Numba compiles: what is plain, read at the speed of the memory. `decode_compiled` alone calls them."""
