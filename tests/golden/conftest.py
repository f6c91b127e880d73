"""One thread for torch: on busy machines a second one waits more than it works, and sums are then repeatable."""

import torch

torch.set_num_threads(1)
