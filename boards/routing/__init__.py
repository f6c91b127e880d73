"""Place and route on a device for which free tools exist: evidence for the timing model."""
