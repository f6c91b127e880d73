"""Tasks on Dask distributed: processes of this machine, or of many."""
