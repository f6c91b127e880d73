"""What the units know of instructions: layouts of their fields, and the checks of which have a meaning."""
