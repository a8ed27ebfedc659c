"""The asynchronous client. The synchronous one in `fanin._sync` is made from it by `make_sync.py`."""
