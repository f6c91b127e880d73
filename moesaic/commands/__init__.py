"""The commands of `moesaic`, one per file."""
