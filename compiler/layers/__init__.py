"""How each kind of layer is compiled: a room for each, under the name that it has in `golden/layers`."""
