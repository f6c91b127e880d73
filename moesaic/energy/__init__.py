"""Energy: published energies of operations, counted activity, and a calibration on published designs with its error."""
