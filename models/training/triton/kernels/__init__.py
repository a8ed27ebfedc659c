"""The kernels, in Triton's language: no Python that runs. Nobody but `launches` and `step` imports them, and Triton."""
