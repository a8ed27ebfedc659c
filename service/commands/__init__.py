"""The commands demo, reproduce and doctor of `fanin`."""
