"""The same source on CuPy, proved as far as a CPU can: CuPy's frozen API, a static check, and a strict double."""
