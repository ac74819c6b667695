#include "head_fit.h"

#include <gtest/gtest.h>

#include <cmath>

#include "error.h"
#include "fit_loss.h"
#include "head_net.h"
#include "philox.h"

namespace winnow {
namespace {

float noise(std::uint32_t row, std::uint32_t column) { return static_cast<float>(2 * draw(42, 7, row, column) - 1); }

// Rows of `columns` values in groups of eight, of which `label` makes the label.
struct Table {
  std::vector<float> inputs, labels;
  std::vector<std::int32_t> groups;

  template <typename Label>
  Table(std::uint32_t first, std::uint32_t count, int columns, const Label& label) {
    for (std::uint32_t row = first; row < first + count; ++row) {
      for (int c = 0; c < columns; ++c) inputs.push_back(noise(row, static_cast<std::uint32_t>(c)));
      labels.push_back(label(inputs.data() + inputs.size() - static_cast<std::size_t>(columns), row));
      groups.push_back(static_cast<std::int32_t>(row / 8));
    }
  }
  FitRows rows() const { return {inputs.data(), labels.data(), groups.data(), labels.size()}; }
};

// What the head file's consumer does with a fit: states as they come, features standardised.
double logit(const Fit& fit, const FitParams& params, const float* input) {
  std::vector<float> x(input, input + params.columns);
  for (int c = params.state_columns; c < params.columns; ++c) {
    const std::size_t i = static_cast<std::size_t>(c - params.state_columns);
    x[static_cast<std::size_t>(c)] = (x[static_cast<std::size_t>(c)] - fit.mean[i]) / fit.deviation[i];
  }
  HeadNet net(params.columns, params.hidden, 0);
  net.parameters = fit.parameters;
  std::vector<float> sums(net.units());
  float out = 0;
  net.forward(x.data(), 1, sums.data(), &out);
  return static_cast<double>(out);
}

double share_right(const Fit& fit, const FitParams& params, const Table& table) {
  double right = 0;
  const std::size_t columns = static_cast<std::size_t>(params.columns);
  for (std::size_t i = 0; i < table.labels.size(); ++i) {
    right += (logit(fit, params, table.inputs.data() + i * columns) > 0) == (table.labels[i] > 0.5f) ? 1 : 0;
  }
  return right / static_cast<double>(table.labels.size());
}

const std::atomic<bool> kGoOn{false};

FitParams small(int hidden) {
  FitParams params;
  params.columns = 6;
  params.state_columns = 4;
  params.hidden = hidden;
  params.batch = 128;
  params.dropout = 0;
  params.decay = 0;
  params.threads = 1;
  return params;
}

TEST(HeadNet, GradientsAreTheLossDifferencesTheyStandFor) {
  for (const int hidden : {0, 5}) {
    HeadNet net(19, hidden, 3);  // longer than the lanes, with a rest
    for (std::size_t i = 0; i < net.parameters.size(); ++i) net.parameters[i] = noise(9, static_cast<std::uint32_t>(i));
    const std::size_t rows = 6;
    std::vector<float> inputs(rows * 19), labels = {1, 0, 0.25f, 1, 0, 1};
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = noise(8, static_cast<std::uint32_t>(i));
    const std::vector<Span> groups = {{0, 4}, {4, 6}};
    std::vector<float> sums(rows * net.units()), logits(rows), slopes;
    const auto loss = [&](bool binary) {
      net.forward(inputs.data(), rows, sums.data(), logits.data());
      return fit_loss(logits, labels, groups, binary, 0.7, slopes);
    };
    for (const bool binary : {true, false}) {
      loss(binary);
      std::vector<float> gradient(net.parameters.size(), 0.0f);
      net.backward(inputs.data(), rows, sums.data(), slopes.data(), gradient.data());
      for (std::size_t i = 0; i < net.parameters.size(); ++i) {
        const float before = net.parameters[i];
        net.parameters[i] = before + 1e-2f;
        const double above = loss(binary);
        net.parameters[i] = before - 1e-2f;
        const double below = loss(binary);
        net.parameters[i] = before;
        const double slope = (above - below) / 2e-2;
        EXPECT_NEAR(static_cast<double>(gradient[i]), slope, 2e-3 * (1 + std::fabs(slope))) << hidden << " " << i;
      }
    }
  }
}

TEST(HeadFit, FindsALineAndWhatNoLineCanTell) {
  const auto line = [](const float* x, std::uint32_t) { return x[0] - 0.5f * x[4] > 0.1f ? 1.0f : 0.0f; };
  const auto corners = [](const float* x, std::uint32_t) { return x[1] * x[5] > 0 ? 1.0f : 0.0f; };
  for (const int hidden : {0, 32}) {
    const Table train(0, 4000, 6, line), validation(4000, 1000, 6, line);
    const FitParams params = small(hidden);
    const Fit fit = fit_head(train.rows(), validation.rows(), params, kGoOn);
    EXPECT_GT(share_right(fit, params, validation), 0.97) << hidden;
  }
  const Table train(0, 4000, 6, corners), validation(4000, 1000, 6, corners);
  const FitParams params = small(32);
  EXPECT_GT(share_right(fit_head(train.rows(), validation.rows(), params, kGoOn), params, validation), 0.95);
  const FitParams linear = small(0);
  EXPECT_LT(share_right(fit_head(train.rows(), validation.rows(), linear, kGoOn), linear, validation), 0.6);
}

TEST(HeadFit, GivesNumbersBackOnTheirOwnScale) {
  const auto label = [](const float* x, std::uint32_t) { return 1000 + 50 * x[0] - 20 * x[5]; };
  const Table train(0, 2000, 6, label), validation(2000, 400, 6, label);
  FitParams params = small(0);
  params.binary = false;
  params.ranking = 0;
  params.rate = 0.05;
  const Fit fit = fit_head(train.rows(), validation.rows(), params, kGoOn);
  for (std::size_t i = 0; i < 400; ++i) {
    EXPECT_NEAR(logit(fit, params, validation.inputs.data() + 6 * i), static_cast<double>(validation.labels[i]), 2);
  }
}

TEST(HeadFit, FoldsTheScalesOfStatesAndLabelsIntoTheWeights) {
  const auto label = [](const float* x, std::uint32_t) { return 1000 + 50 * x[0] - 20 * x[5]; };
  Table train(0, 2000, 6, label), validation(2000, 400, 6, label);
  for (Table* table : {&train, &validation}) {
    for (std::size_t i = 0; i < table->inputs.size(); ++i) {
      if (i % 6 < 4) table->inputs[i] = 30 + 7 * table->inputs[i];
    }
  }
  for (const int hidden : {0, 16}) {
    FitParams params = small(hidden);
    params.binary = false;
    params.ranking = 0;
    params.rate = 0.05;
    const Fit fit = fit_head(train.rows(), validation.rows(), params, kGoOn);
    double error = 0;
    for (std::size_t i = 0; i < 400; ++i) {
      const double gap =
          logit(fit, params, validation.inputs.data() + 6 * i) - static_cast<double>(validation.labels[i]);
      error += std::fabs(gap) / 400;
    }
    EXPECT_LT(error, 3) << hidden << ": labels deviate by 31";
  }
}

TEST(HeadFit, LeavesNothingToScaleWhereManyColumnsSayTheSame) {
  // 24 columns of one signal: what is left out in training must not come back as too much where all are on.
  const int columns = 24;
  const auto table = [&](std::uint32_t first, std::uint32_t count) {
    Table made(first, count, columns, [](const float*, std::uint32_t row) { return noise(row, 500); });
    for (std::size_t i = 0; i < made.inputs.size(); ++i) {
      made.inputs[i] = made.labels[i / static_cast<std::size_t>(columns)] + 0.1f * made.inputs[i];
    }
    return made;
  };
  const Table train = table(0, 4000), validation = table(4000, 800);
  for (const double dropout : {0.0, 0.5}) {
    FitParams params = small(0);
    params.columns = params.state_columns = columns;
    params.binary = false;
    params.ranking = 0;
    params.rate = 0.02;
    params.dropout = dropout;
    const Fit fit = fit_head(train.rows(), validation.rows(), params, kGoOn);
    double both = 0, square = 0;
    for (std::size_t i = 0; i < validation.labels.size(); ++i) {
      const double score = logit(fit, params, validation.inputs.data() + i * static_cast<std::size_t>(columns));
      both += score * static_cast<double>(validation.labels[i]);
      square += static_cast<double>(validation.labels[i]) * static_cast<double>(validation.labels[i]);
    }
    EXPECT_NEAR(both / square, 1, 0.06) << dropout;
  }
}

TEST(HeadFit, RanksWithinAGroupWhatTheGroupsHide) {
  // The group's own level outweighs what tells its members apart, and says nothing about them.
  const auto label = [](const float* x, std::uint32_t row) { return x[0] + 0.2f * noise(row, 99) > 0 ? 1.0f : 0.0f; };
  Table train(0, 4000, 6, label), validation(4000, 800, 6, label);
  for (Table* table : {&train, &validation}) {
    for (std::size_t i = 0; i < table->labels.size(); ++i) {
      const float level = 20 * noise(static_cast<std::uint32_t>(table->groups[i]), 77);
      table->inputs[6 * i] += level;
      table->inputs[6 * i + 1] = level;
    }
  }
  FitParams params = small(0);
  params.rate = 0.05;
  const Fit fit = fit_head(train.rows(), validation.rows(), params, kGoOn);
  double right = 0, pairs = 0;
  for (std::size_t i = 0; i < 800; ++i) {
    for (std::size_t j = i - i % 8; j < i; ++j) {
      if (validation.labels[i] == validation.labels[j]) continue;
      const double gap =
          logit(fit, params, validation.inputs.data() + 6 * i) - logit(fit, params, validation.inputs.data() + 6 * j);
      right += (gap > 0) == (validation.labels[i] > validation.labels[j]) ? 1 : 0;
      ++pairs;
    }
  }
  EXPECT_GT(right / pairs, 0.9);
}

TEST(HeadFit, IsTheSameForASeedWhateverTheThreads) {
  const auto label = [](const float* x, std::uint32_t) { return x[1] * x[5] > 0 ? 1.0f : 0.0f; };
  const Table train(0, 1000, 6, label), validation(1000, 300, 6, label);
  FitParams params = small(16);
  params.dropout = 0.3;
  params.epochs = 5;
  const Fit one = fit_head(train.rows(), validation.rows(), params, kGoOn);
  params.threads = 3;
  const Fit three = fit_head(train.rows(), validation.rows(), params, kGoOn);
  EXPECT_EQ(one.parameters, three.parameters);
  EXPECT_EQ(one.best, three.best);
  params.seed = 1;
  EXPECT_NE(fit_head(train.rows(), validation.rows(), params, kGoOn).parameters, one.parameters);
}

TEST(HeadFit, KeepsTheBestEpochAndStopsWhenNoneIsBetter) {
  // Labels without a reason: whatever is learnt is learnt by heart.
  const auto label = [](const float*, std::uint32_t row) { return noise(row, 55) > 0 ? 1.0f : 0.0f; };
  const Table train(0, 200, 6, label), validation(200, 400, 6, label);
  FitParams params = small(64);
  params.rate = 0.03;
  params.epochs = 200;
  params.patience = 5;
  const Fit fit = fit_head(train.rows(), validation.rows(), params, kGoOn);
  ASSERT_LT(fit.epochs.size(), 100u);
  EXPECT_EQ(static_cast<int>(fit.epochs.size()), fit.best + 5);
  for (const Epoch& epoch : fit.epochs) {
    EXPECT_GE(epoch.validation_loss, fit.epochs[static_cast<std::size_t>(fit.best - 1)].validation_loss);
  }
}

TEST(HeadFit, StopsWhenAskedAndKeepsWhatItHas) {
  const auto label = [](const float* x, std::uint32_t) { return x[0] > 0 ? 1.0f : 0.0f; };
  const Table train(0, 1000, 6, label), validation(1000, 200, 6, label);
  std::atomic<bool> abort{false};
  FitParams params = small(16);
  params.rate = 0.05;
  const Fit fit = fit_head(train.rows(), validation.rows(), params, abort, [&](const Epoch& epoch) {
    if (epoch.index == 3) abort = true;
  });
  EXPECT_TRUE(fit.stopped);
  EXPECT_EQ(fit.epochs.size(), 3u);
  EXPECT_GT(share_right(fit, params, validation), 0.8);
}

TEST(HeadFit, RefusesWhatCannotBeFitted) {
  const auto ones = [](const float*, std::uint32_t) { return 1.0f; };
  const auto signs = [](const float* x, std::uint32_t) { return x[0] > 0 ? 1.0f : 0.0f; };
  const FitParams params = small(0);
  const Table good(0, 100, 6, signs);
  const auto refused = [&](const FitRows& train, const std::string& sentence) {
    try {
      fit_head(train, good.rows(), params, kGoOn);
      ADD_FAILURE() << "fitted: " << sentence;
    } catch (const EngineError& error) {
      EXPECT_EQ(error.code(), "OPTION_INVALID");
      EXPECT_NE(std::string(error.what()).find(sentence), std::string::npos) << error.what();
    }
  };
  refused(Table(0, 100, 6, ones).rows(), "Expected labels that differ");
  refused({}, "Expected at least one row for the training rows but received none");
  Table broken = good;
  broken.inputs[7] = std::nanf("");
  refused(broken.rows(), "Expected finite inputs");
  broken = good;
  broken.labels[3] = 2;
  refused(broken.rows(), "Expected labels from 0 to 1");
}

}  // namespace
}  // namespace winnow
