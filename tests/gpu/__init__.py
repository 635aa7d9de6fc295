"""Tests that want a CUDA device; without one they are skipped, and say why."""
