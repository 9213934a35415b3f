"""Settings for all tests. Lying here, this file also lets them `import tiny`."""

import torch

torch.set_num_threads(1)
