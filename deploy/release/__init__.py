"""The modules of `deploy/dist.py` and `deploy/image.py`. They need the standard library alone."""
