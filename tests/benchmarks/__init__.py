"""The harness of the benchmarks, without any load: what it reads and writes, and that its apps work."""
