"""Momentum, orthogonalised by Newton-Schulz iterations (github.com/KellerJordan/Muon): for the matrices inside the layers."""

import torch


class Muon:
    """Matrices of one shape are stacked and stepped together."""

    def __init__(self, parameters, momentum=0.95):
        self.groups = {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.momentum = momentum
        self.state = {shape: torch.zeros(len(ps), *shape) for shape, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, rate, decay):
        for shape, ps in self.groups.items():
            grad = torch.stack([p.grad for p in ps])
            buffer = self.state[shape].lerp_(grad, 1 - self.momentum)
            x = grad.lerp(buffer, self.momentum).bfloat16()
            tall = shape[0] > shape[1]
            if tall:
                x = x.mT
            x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
            for _ in range(5):
                gram = x @ x.mT
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * (gram @ gram)) @ x
            if tall:
                x = x.mT
            x = x.float() * (rate * 0.2 * max(shape) ** 0.5)
            for p, update in zip(ps, x):
                p.mul_(1 - rate * decay).sub_(update)
