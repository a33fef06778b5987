"""An ordinary PyTorch training loop whose logged losses `aetheory fit` reads; see docs/from_your_script.md.

python benchmarks/training_script.py [FILE]
"""

import csv
import sys

import torch

INPUT_DIM, LATENT_DIM, NUM_SAMPLES, LEARNING_RATE = 200, 60, 400, 1.0
INIT_SCALE = 0.5


def main(path: str) -> None:
    torch.manual_seed(0)
    data, held_out = torch.randn(NUM_SAMPLES, INPUT_DIM), torch.randn(20_000, INPUT_DIM)
    weights = torch.nn.Parameter(torch.randn(INPUT_DIM, LATENT_DIM) * (INIT_SCALE / INPUT_DIM) ** 0.5)
    optimizer, criterion = torch.optim.SGD([weights], lr=LEARNING_RATE), torch.nn.MSELoss()
    with open(path, "w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["step", "loss", "test_loss"])
        for step in range(201):
            loss = criterion(data @ weights @ weights.T, data)
            if step % 5 == 0:
                with torch.no_grad():
                    log.writerow([step, loss.item(), criterion(held_out @ weights @ weights.T, held_out).item()])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/training_script.csv")
