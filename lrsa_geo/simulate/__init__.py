"""Solvers that make real data, one problem per file."""
