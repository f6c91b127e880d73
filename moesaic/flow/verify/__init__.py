"""Campaigns that try the accelerator far beyond what a test suite has time for."""
