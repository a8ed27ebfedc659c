"""The operations, one router a noun."""
