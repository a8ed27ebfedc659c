"""The synchronous client. Written from `fanin._async` by `make_sync.py`: do not edit."""
