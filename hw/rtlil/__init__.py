"""RTLIL, the text between Amaranth and Yosys: read, tidied, named for people, and written again."""
