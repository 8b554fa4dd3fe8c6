"""Prompts and replies as tokens, rollouts, and the reward model that reads them."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.log_probabilities import sequence_log_probabilities, token_log_probabilities
from tinygrad_llm.feedback.replies import ReplyFormat, Rows, as_rows
from tinygrad_llm.feedback.reward_model import RewardModel, preference_loss
from tinygrad_llm.feedback.rollouts import write_replies
from tinygrad_llm.text.chat import ChatTemplate

TEXT = "A:\nYes, my lord.\n\nB:\nNo, my lord.\n\n" * 20
SOURCE = "{% for m in messages %}<|u|>{{ m.content }}{% endfor %}<|a|>"


@pytest.fixture(scope="module")
def model():
    tokenizer = tg.Tokenizer.train(TEXT, vocab_size=270, at_most=True)
    config = tg.TransformerConfig.llama(
        vocab_size=tokenizer.vocab_size, context=48, layers=2, heads=2, width=16, init_std=0.2
    )
    return tg.LanguageModel(tg.Transformer(config, seed=0), tokenizer)


@pytest.fixture(scope="module")
def chat_model():
    tokenizer = tg.Tokenizer.train(TEXT, 272, special_tokens=["<|u|>", "<|a|>", "<|end|>"], at_most=True)
    config = tg.TransformerConfig.llama(vocab_size=tokenizer.vocab_size, context=48, layers=1, heads=2, width=16)
    end = tokenizer.special_tokens["<|end|>"]
    return tg.LanguageModel(tg.Transformer(config, seed=0), tokenizer, ChatTemplate(SOURCE), stop_tokens=(end,))


def test_a_reply_of_a_model_that_goes_on_with_a_text_ends_with_a_text(model):
    replies = ReplyFormat(model, end="\n\n")
    tokens = replies.reply_ids("Yes.")
    assert model.tokenizer.decode(tokens) == "Yes.\n\n"
    assert replies.has_ended(tokens) and not replies.has_ended(tokens[:-1])
    assert replies.text([*tokens, *model.tokenizer.encode("more")]) == "Yes."
    with pytest.raises(InputError, match="end must be a text"):
        ReplyFormat(model, end="")


def test_a_reply_of_a_chat_model_ends_with_the_token_that_ends_a_turn(chat_model):
    replies = ReplyFormat(chat_model)
    special = chat_model.tokenizer.special_tokens
    assert replies.prompt_ids("Yes?") == [special["<|u|>"], *chat_model.tokenizer.encode("Yes?"), special["<|a|>"]]
    assert replies.prompt_ids(({"role": "user", "content": "Yes?"},)) == replies.prompt_ids("Yes?")
    tokens = replies.reply_ids("No.\n\nYes.")
    assert tokens[-1] == special["<|end|>"]
    assert replies.has_ended(tokens) and not replies.has_ended(tokens[:-1])
    assert replies.text(tokens) == "No.\n\nYes."


def test_rows_know_which_tokens_are_the_reply():
    rows = as_rows([[1, 2], [3]], [[4], [5, 6, 7]])
    assert rows.ids.tolist() == [[1, 2, 4, 0], [3, 5, 6, 7]]
    assert rows.mask.tolist() == [[False, False, True, False], [False, True, True, True]]
    assert rows.lengths.tolist() == [1, 3]
    assert rows.take([0]).ids.tolist() == [[1, 2, 4]]


def test_a_rollout_does_not_depend_on_the_others_and_ends_where_it_should(model):
    replies = ReplyFormat(model)
    prompts = ["A:\n", "B:\nNo, my lord.\n\nA:\n", "A:\n"]
    together = write_replies(replies, prompts, 12, seed=3)
    first = write_replies(replies, prompts[:1], 12, seed=3)
    assert together.texts[0] == first.texts[0]
    assert together.rows.lengths.max() <= 12
    for row, (text, ended) in enumerate(zip(together.texts, together.ended, strict=True)):
        tokens = together.rows.ids[row][together.rows.mask[row]].tolist()
        assert replies.text(tokens) == text and replies.has_ended(tokens) == ended
        assert ended or len(tokens) == 12
    with pytest.raises(InputError, match="do not fit into the context"):
        write_replies(replies, ["A" * 45], 12, seed=0)


def test_log_probabilities_are_sums_over_the_reply(model):
    rows = as_rows([[1, 2], [3]], [[4], [5, 6, 7]])
    found = sequence_log_probabilities(model.network, rows.ids, rows.mask).numpy()
    for row, (prompt, reply) in enumerate((([1, 2], [4]), ([3], [5, 6, 7]))):
        logits = model.network(np.array([[*prompt, *reply]])).numpy()[0]
        log_p = tg.ops.log_softmax(logits)
        expected = sum(log_p[len(prompt) - 1 + i, token] for i, token in enumerate(reply))
        assert found[row] == pytest.approx(expected, abs=1e-4)
    assert token_log_probabilities(model.network, rows.ids).shape == (2, 3)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_reward_model_learns_which_word_was_preferred_and_padding_does_not_count(model, pooling):
    network = tg.Transformer(model.network.config, seed=1)
    reward = RewardModel(network, pooling)
    good, bad = as_rows([[1]] * 4, [[9, 2 + i] for i in range(4)]), as_rows([[1]] * 4, [[8, 2 + i] for i in range(4)])
    assert not reward.rewards(good).numpy().any()  # at the start all are worth 0
    optimizer = tg.optim.AdamW(reward.parameters(), lr=1e-2)
    for _ in range(40):
        loss = preference_loss(reward.rewards(good), reward.rewards(bad))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.2
    padded = as_rows([[1], [1]], [[9, 2], [9, 2, 3, 4, 5]])
    alone = reward.rewards(padded.take([0])).numpy()
    np.testing.assert_allclose(reward.rewards(padded).numpy()[0], alone[0], rtol=1e-5)
    with pytest.raises(InputError, match="has no tokens"):
        reward.rewards(Rows(padded.ids, padded.mask & False))
    with pytest.raises(InputError, match="pooling must be"):
        RewardModel(network, "max")
