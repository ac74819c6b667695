// RankHead: what a reranker's GGUF says of its classification head, read before llama.cpp sees the file.
//
// Encoders (BERT and its kin) have `cls` (a dense layer and tanh; may be missing) and `cls.output`, and llama.cpp's
// rank pooling applies both to the first token's state, or to the mean of all in ModernBERT. Jina BERT v2 has `cls`
// alone, and llama.cpp puts its one output through tanh.
//
// Decoders (Qwen3) have `cls.output` alone, for the last token's state. There rank pooling ends in a softmax over the
// labels (llm_graph_context::build_pooling), which is 1.0 for any text where there is one label, and rounds to 0 and 1
// where one of two is likely. So a decoder's head is taken out of the file here, and applied to a state that a Mirror
// reads: the logit of the one label, or with yes and no the difference of theirs, which is the log-odds of yes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gguf_file.h"
#include "head.h"

namespace winnow {

struct RankHead {
  bool encoder = false;
  std::vector<std::string> labels;   // as the file names them; empty where it names none, and then there is one
  int yes = 0;                       // output that is the score,
  int no = -1;                       // less this one; -1 for none
  std::string rerank_template;       // with {query} and {document}; empty where the file has none
  std::shared_ptr<const Head> head;  // of a decoder; null for an encoder
};

// Whether llama.cpp reads a rank head of this architecture's encoders.
bool is_ranking_encoder(const std::string& architecture);

// Throws EngineError MODEL_UNSUPPORTED (no head, more labels than one or yes and no) and MODEL_CORRUPT (a head of
// another shape, with values that are not finite, or outside the file).
std::shared_ptr<const RankHead> read_rank_head(const std::string& path);

}  // namespace winnow
