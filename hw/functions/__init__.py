"""The function units of the write-back: each takes finished accumulators, or what another has made of them, a vector of
`rows` values per cycle, a fixed number of cycles from values to results, and no back pressure.

Beside the values comes their companion (`companion_layout`), `AHEAD` cycles before them.
"""
