"""How networks are trained: the engines that take the steps."""
