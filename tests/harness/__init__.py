"""What the end-to-end tests and the benchmarks share: real programs, sample images, metadata, services."""
