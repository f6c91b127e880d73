"""Any `nn.Module` made of layers the accelerator has, captured with `torch.export` as an M3ViT."""
