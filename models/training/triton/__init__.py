"""The engine `triton-step`: training steps of K networks as Triton kernels, for CUDA GPUs.

`plan` decides without Triton what is launched, and which cases are left to the step in torch; `availability` says
whether this installation and card can run the kernels; `step` is the engine. Only `kernels`, which `launches` and
`step` import, imports Triton.
"""
