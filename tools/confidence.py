"""Running confidence features of a branch, from the log-probabilities of its tokens and the entropies they were drawn from.

The engine computes the same numbers; both follow models/README.md to the letter.
"""

import torch

WINDOW = 16
NAMES = ["mean_logprob", "min_logprob", "recent_mean_logprob", "recent_min_logprob", "mean_entropy", "recent_mean_entropy",
         "max_excess", "recent_max_excess", "log_tokens"]


def features(logprobs, entropies):
    """[rows, tokens] twice -> [rows, tokens, 9]: the features after each token."""
    excess = (-logprobs - entropies).clamp(min=0)
    count = torch.arange(1, logprobs.shape[1] + 1, dtype=torch.float64)
    recent = count.clamp(max=WINDOW)

    def mean(x):
        return x.double().cumsum(1) / count

    def recent_mean(x):
        total = torch.nn.functional.pad(x.double().cumsum(1), (WINDOW, 0))
        return (total[:, WINDOW:] - total[:, :-WINDOW]) / recent

    def recent_min(x):
        return torch.nn.functional.pad(x, (WINDOW - 1, 0), value=torch.inf).unfold(1, WINDOW, 1).amin(-1)

    columns = [mean(logprobs), logprobs.cummin(1).values, recent_mean(logprobs), recent_min(logprobs), mean(entropies),
               recent_mean(entropies), excess.cummax(1).values, -recent_min(-excess),
               torch.log1p(count).expand_as(logprobs)]
    return torch.stack([c.float() for c in columns], -1)
