"""Beneath the loop: bridges between threads, the process's signals, its log."""
