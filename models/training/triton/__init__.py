"""The engine `triton-step`: training steps of K networks as Triton kernels, for CUDA GPUs.

`plan` decides without Triton what is launched and which cases are left to the step in torch; `availability` says
whether this installation and card can run the kernels; `step` is the engine. Triton is imported by the kernels
(`arithmetic`, `waiting`, `updates`, `forward`, `backward`) alone, which `step` loads when a step is made.
"""
