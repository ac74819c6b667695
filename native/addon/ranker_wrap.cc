#include "ranker_wrap.h"

#include <utility>
#include <vector>

#include "convert.h"
#include "model_wrap.h"
#include "pool_values.h"
#include "rank_head.h"

namespace winnow {
namespace {

using Handle = KvHandle<Ranker>;

struct Opened {
  std::shared_ptr<Handle> handle;
  PairFrame frame;
  int context = 0;
};

RankerParams to_ranker_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the ranker options");
  RankerParams params;
  params.context = integer_of(from, "context", 0, 1 << 30);
  params.batch = integer_of(from, "batch", 0, 1 << 30);
  params.threads = integer_of(from, "threads", 0, 1 << 30);
  params.flash_attention = text_of(from, "flashAttention");
  return params;
}

Napi::Value from_frame(Napi::Env env, const PairFrame& frame) {
  Napi::Object to = Napi::Object::New(env);
  to["before"] = from_int32s(env, frame.before);
  to["between"] = from_int32s(env, frame.between);
  to["after"] = from_int32s(env, frame.after);
  return to;
}

Napi::Value from_rank_scores(Napi::Env env, const RankScores& scores) {
  Napi::Object to = Napi::Object::New(env);
  to["reason"] = reason_text(scores.reason);
  to["scores"] = from_floats(env, scores.scores);
  to["decoded"] = static_cast<double>(scores.decoded);
  to["batches"] = scores.batches;
  to["seconds"] = scores.seconds;
  return to;
}

}  // namespace

Napi::FunctionReference RankerWrap::define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativeRanker",
                  {InstanceMethod<&RankerWrap::score>("score"), InstanceMethod<&RankerWrap::abort>("abort"),
                   InstanceMethod<&RankerWrap::close>("close")}));
}

Napi::Promise RankerWrap::create(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Model> model = ModelWrap::unwrap(info[0]);
  const RankerParams params = to_ranker_params(info[1]);
  using Worker = PromiseWorker<Opened>;
  Worker::Steps steps;
  steps.work = [model, params] {
    std::unique_ptr<Ranker> ranker = Ranker::create(model, params);
    Opened opened{nullptr, ranker->frame(), ranker->context()};
    opened.handle = std::make_shared<Handle>("ranker", std::move(ranker));
    return opened;
  };
  steps.convert = [](Napi::Env env, const Opened& opened) -> Napi::Value {
    Napi::Object ranker = construct(env, AddonData::of(env).ranker_class, opened.handle);
    ranker["frame"] = from_frame(env, opened.frame);
    ranker["context"] = opened.context;
    return ranker;
  };
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

Napi::Value RankerWrap::head(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Model> model = ModelWrap::unwrap(info[0]);
  const std::shared_ptr<const RankHead> rank = model->facts().rank;
  if (rank == nullptr || rank->head == nullptr) {
    throw Failure{"HEAD_MISSING", "Expected a decoder opened as a ranker but received '" + model->facts().path + "'"}
        .to_error(info.Env());
  }
  return construct(info.Env(), AddonData::of(info.Env()).head_class, rank->head);
}

RankerWrap::RankerWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<RankerWrap>(info), handle_(take_constructing<std::shared_ptr<Handle>>(info.Env())) {
  handle_->adopt(info.Env());
}

void RankerWrap::Finalize(Napi::BasicEnv env) {
  if (handle_ != nullptr) handle_->disown(env);
}

Napi::Value RankerWrap::score(const Napi::CallbackInfo& info) {
  RankRequest request;
  request.tokens = to_int32s(info[0], "tokens");
  request.offsets = to_int32s(info[1], "offsets");
  const double deadline = to_number(info[2], "deadlineSeconds");
  return handle_->start<RankScores>(
      info.Env(), [=](Ranker& ranker) { return ranker.score(request, deadline); }, from_rank_scores);
}

void RankerWrap::abort(const Napi::CallbackInfo&) { handle_->abort(); }

Napi::Value RankerWrap::close(const Napi::CallbackInfo& info) { return handle_->close(info.Env()); }

}  // namespace winnow
