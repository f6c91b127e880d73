"""Reports of a vendor's tools, read back."""
