"""The command line `fanin`: what a client does, and beside it the commands of an installed service."""
