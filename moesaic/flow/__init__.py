"""From a model and an image to measured results: the stages behind the command line."""
