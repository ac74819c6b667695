#include "one_race.h"

#include <utility>

OneRace::OneRace(std::shared_ptr<winnow::Model> model, const winnow::PoolParams& params,
                 const std::vector<winnow::Token>& prompt, const winnow::ForkParams& fork)
    : pool_(winnow::Pool::create(std::move(model), params)), race_(pool_->prefill(prompt).race) {
  pool_->fork(race_, fork);
}

winnow::Advance OneRace::advance(int steps) {
  winnow::Advance advance = pool_->advance({{race_, steps_ + steps}}).at(0);
  steps_ += advance.steps;
  return advance;
}

void OneRace::kill(const std::vector<std::int32_t>& ids) { pool_->kill(race_, ids); }

std::vector<float> OneRace::score(const winnow::Head& head, const std::vector<std::int32_t>& ids) const {
  return pool_->score(head, race_, ids);
}

std::vector<float> OneRace::states(const std::vector<std::int32_t>& ids) const { return pool_->states(race_, ids); }
