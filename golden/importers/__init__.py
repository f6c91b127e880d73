"""Published weight formats read into the float model: M3ViT checkpoints, Edge-MoE folders, plain ViT state dicts."""
