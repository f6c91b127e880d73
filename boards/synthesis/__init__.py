"""Synthesis of a whole accelerator with Yosys: resources counted per unit, fit to a board, logic depth."""
