"""What serves ends at five sixths of the encoder and reads two of its layers, if that answers as well as the whole.

A fine-tuned encoder knows the intent before its last layer (Xin et al. 2020, arXiv:2004.12993), and its lower layers
still hold the words when the upper ones have settled on a meaning (Jawahar et al. 2019, ACL P19-1356). Both
levels are pooled, and one linear head is fitted on them side by side: on the vectors of the very graph that will serve,
so that it also makes up for what int8 and fewer feed-forward units moved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_code.common.encoders import SentenceEncoder

LEVELS = (1 / 3, 5 / 6)  # shares of the encoder's layers


def levels_of(layers: int) -> tuple[int, ...]:
    """The layers that are read, the lowest being 1: 4 and 10 of 12."""
    return tuple(max(1, round(share * layers)) for share in LEVELS)


class EarlyExit(nn.Module):
    """(vectors, attention_mask) -> what the head reads, shape (rows, levels x width): the encoder after its
    vocabulary look-up, and no further than its highest level."""

    def __init__(self, sentence: SentenceEncoder) -> None:
        super().__init__()
        self.sentence = sentence
        self.levels = levels_of(sentence.layers)

    def forward(self, vectors: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.sentence.encoder(inputs_embeds=vectors, attention_mask=attention_mask, output_hidden_states=True)
        # The first of the hidden states is what enters the first layer.
        pooled = [self.sentence.pooled(found.hidden_states[level], attention_mask) for level in self.levels]
        return torch.cat(pooled, dim=-1)


class WholeEncoder(nn.Module):
    """(vectors, attention_mask) -> what the trained head reads, shape (rows, width): the last hidden state, which some
    encoders normalise once more than the last of the hidden states that `EarlyExit` reads."""

    def __init__(self, sentence: SentenceEncoder) -> None:
        super().__init__()
        self.sentence = sentence

    def forward(self, vectors: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.sentence.encoder(inputs_embeds=vectors, attention_mask=attention_mask)
        return self.sentence.pooled(found.last_hidden_state, attention_mask)
