#include "head_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <thread>

#include "adamw.h"
#include "error.h"
#include "fit_loss.h"
#include "head_net.h"
#include "philox.h"
#include "workers.h"

namespace winnow {
namespace {

constexpr int kShards = 16;  // fixed, and added up in order: the number of threads does not show in the sums
constexpr double kPi = 3.14159265358979323846;

// What the draws of a fit are for; the second word of their counter.
enum Purpose : std::uint64_t { kShuffle = 1, kDropout = 2 };

class Fitter {
 public:
  Fitter(const FitRows& train, const FitRows& validation, const FitParams& params, const std::atomic<bool>& abort)
      : train_(train),
        validation_(validation),
        params_(params),
        abort_(abort),
        columns_(static_cast<std::size_t>(params.columns)),
        net_(params.columns, params.hidden, params.seed),
        adam_(net_.parameters.size()),
        workers_(params.threads > 0 ? params.threads
                                    : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))),
        groups_(groups_of(train)),
        scale_(standardisation_of(train, columns_)),
        gradients_(kShards, std::vector<float>(net_.parameters.size())) {
    if (!params.binary) label_scale();
  }

  Fit run(const std::function<void(const Epoch&)>& on_epoch) {
    Fit fit;
    std::vector<float> best = net_.parameters;
    double least = std::numeric_limits<double>::infinity();
    const std::vector<std::vector<Span>> first = batches(0);
    const double total = static_cast<double>(params_.epochs) * static_cast<double>(first.size());
    double step = 0;
    for (int epoch = 1; epoch <= params_.epochs && !fit.stopped; ++epoch) {
      double loss = 0, count = 0;
      for (const std::vector<Span>& batch : batches(epoch)) {
        if ((fit.stopped = abort_.load(std::memory_order_relaxed))) break;
        const double part = step / std::max(1.0, total);
        const double rate =
            params_.rate * (part < 0.1 ? (part + 1 / total) / 0.1 : 0.5 + 0.5 * std::cos(kPi * (part - 0.1) / 0.9));
        loss += train_step(batch, std::min(rate, params_.rate), static_cast<std::uint32_t>(step));
        ++count;
        ++step;
      }
      if (fit.stopped) break;
      const Epoch done{epoch, loss / std::max(1.0, count), validation_loss()};
      fit.epochs.push_back(done);
      if (on_epoch) on_epoch(done);
      if (done.validation_loss < least) {
        least = done.validation_loss;
        best = net_.parameters;
        fit.best = epoch;
      } else if (epoch - fit.best >= params_.patience) {
        break;
      }
    }
    if (fit.best == 0 && !fit.stopped) {
      throw EngineError("OPTION_INVALID", "Expected a finite validation loss but received none in " +
                                              std::to_string(fit.epochs.size()) + " epochs");
    }
    net_.parameters = std::move(best);
    finish(fit);
    return fit;
  }

 private:
  // Labels of any scale are fitted at deviation 1, and scaled back at the end.
  void label_scale() {
    double sum = 0, square = 0;
    const double count = static_cast<double>(train_.rows);
    for (std::size_t i = 0; i < train_.rows; ++i) sum += static_cast<double>(train_.labels[i]);
    label_mean_ = sum / count;
    for (std::size_t i = 0; i < train_.rows; ++i) {
      const double off = static_cast<double>(train_.labels[i]) - label_mean_;
      square += off * off;
    }
    label_deviation_ = std::max(1e-12, std::sqrt(square / count));
  }

  // Groups in a new order, cut into batches of about `batch` rows.
  std::vector<std::vector<Span>> batches(int epoch) const {
    std::vector<std::size_t> order(groups_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = order.size(); i > 1; --i) {
      const double u = draw(params_.seed, kShuffle, static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(i));
      std::swap(order[i - 1], order[static_cast<std::size_t>(u * static_cast<double>(i))]);
    }
    std::vector<std::vector<Span>> all(1);
    std::size_t rows = 0;
    for (const std::size_t index : order) {
      if (rows > 0 && rows + groups_[index].size() > static_cast<std::size_t>(params_.batch)) {
        all.emplace_back();
        rows = 0;
      }
      all.back().push_back(groups_[index]);
      rows += groups_[index].size();
    }
    return all;
  }

  double train_step(const std::vector<Span>& batch, double rate, std::uint32_t step) {
    const std::vector<float> kept = kept_columns(step);
    std::size_t rows = 0;
    for (const Span& group : batch) rows += group.size();
    inputs_.resize(rows * columns_);
    labels_.resize(rows);
    sums_.resize(rows * net_.units());
    logits_.resize(rows);
    std::vector<Span> local;
    std::size_t row = 0;
    for (const Span& group : batch) {
      local.push_back({row, row + group.size()});
      for (std::size_t i = group.begin; i < group.end; ++i, ++row) {
        standardise(train_.inputs + i * columns_, inputs_.data() + row * columns_, &kept);
        labels_[row] = static_cast<float>((static_cast<double>(train_.labels[i]) - label_mean_) / label_deviation_);
      }
    }
    over_shards(rows, [&](int, std::size_t begin, std::size_t end) {
      net_.forward(inputs_.data() + begin * columns_, end - begin, sums_.data() + begin * net_.units(),
                   logits_.data() + begin);
    });
    const double loss = fit_loss(logits_, labels_, local, params_.binary, params_.ranking, slopes_);
    over_shards(rows, [&](int shard, std::size_t begin, std::size_t end) {
      std::vector<float>& gradient = gradients_[static_cast<std::size_t>(shard)];
      std::fill(gradient.begin(), gradient.end(), 0.0f);
      net_.backward(inputs_.data() + begin * columns_, end - begin, sums_.data() + begin * net_.units(),
                    slopes_.data() + begin, gradient.data());
    });
    for (std::size_t shard = 1; shard < gradients_.size(); ++shard) {
      for (std::size_t i = 0; i < gradients_[0].size(); ++i) gradients_[0][i] += gradients_[shard][i];
    }
    adam_.step(net_.parameters, gradients_[0], rate, params_.decay);
    return loss;
  }

  // What each standardised column is multiplied by in a step: 0 where it is left out.
  std::vector<float> kept_columns(std::uint32_t step) const {
    std::vector<float> kept(columns_, 1.0f);
    const float more = static_cast<float>(1 / (1 - params_.dropout));
    for (std::size_t c = 0; c < static_cast<std::size_t>(params_.state_columns); ++c) {
      kept[c] = draw(params_.seed, kDropout, step, static_cast<std::uint32_t>(c)) >= params_.dropout ? more : 0.0f;
    }
    return kept;
  }

  void standardise(const float* from, float* to, const std::vector<float>* kept) const {
    for (std::size_t c = 0; c < columns_; ++c) {
      to[c] = (from[c] - scale_.mean[c]) / scale_.deviation[c];
      if (kept != nullptr) to[c] *= (*kept)[c];
    }
  }

  double validation_loss() {
    std::vector<double> losses(kShards, 0);
    over_shards(validation_.rows, [&](int shard, std::size_t begin, std::size_t end) {
      std::vector<float> input(columns_), sums(net_.units());
      for (std::size_t i = begin; i < end; ++i) {
        standardise(validation_.inputs + i * columns_, input.data(), nullptr);
        float logit = 0;
        net_.forward(input.data(), 1, sums.data(), &logit);
        const double z = static_cast<double>(logit);
        const double y = (static_cast<double>(validation_.labels[i]) - label_mean_) / label_deviation_;
        losses[static_cast<std::size_t>(shard)] += row_loss(z, y, params_.binary);
      }
    });
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(validation_.rows);
  }

  template <typename Job>
  void over_shards(std::size_t rows, const Job& job) {
    workers_.run(kShards, [&](int shard, int) {
      const std::size_t begin = rows * static_cast<std::size_t>(shard) / kShards;
      const std::size_t end = rows * (static_cast<std::size_t>(shard) + 1) / kShards;
      job(shard, begin, end);
    });
  }

  // Folds what stands before the net (the states' standardisation) and after it (the labels' scale) into its weights.
  void finish(Fit& fit) {
    const std::size_t states = static_cast<std::size_t>(params_.state_columns);
    std::vector<float>& p = net_.parameters;
    const std::size_t rows = net_.hidden == 0 ? 1 : net_.units();
    for (std::size_t row = 0; row < rows; ++row) {
      float* weights = p.data() + row * columns_;
      double shift = 0;
      for (std::size_t c = 0; c < states; ++c) {
        weights[c] /= scale_.deviation[c];
        shift += static_cast<double>(weights[c]) * static_cast<double>(scale_.mean[c]);
      }
      float& bias = p[rows * columns_ + row];
      bias = static_cast<float>(static_cast<double>(bias) - shift);
    }
    if (!params_.binary) {
      const std::size_t begin = net_.hidden == 0 ? 0 : net_.units() * columns_ + net_.units();
      for (std::size_t i = begin; i < p.size(); ++i)
        p[i] = static_cast<float>(static_cast<double>(p[i]) * label_deviation_);
      p.back() = static_cast<float>(static_cast<double>(p.back()) + label_mean_);
    }
    fit.parameters = p;
    fit.mean.assign(scale_.mean.begin() + params_.state_columns, scale_.mean.end());
    fit.deviation.assign(scale_.deviation.begin() + params_.state_columns, scale_.deviation.end());
  }

  const FitRows& train_;
  const FitRows& validation_;
  const FitParams& params_;
  const std::atomic<bool>& abort_;
  const std::size_t columns_;
  HeadNet net_;
  AdamW adam_;
  Workers workers_;
  std::vector<Span> groups_;
  Standardisation scale_;
  std::vector<std::vector<float>> gradients_;
  double label_mean_ = 0, label_deviation_ = 1;
  std::vector<float> inputs_, labels_, sums_, logits_, slopes_;
};

}  // namespace

Fit fit_head(const FitRows& train, const FitRows& validation, const FitParams& params, const std::atomic<bool>& abort,
             const std::function<void(const Epoch&)>& on_epoch) {
  check_rows("the training rows", train, static_cast<std::size_t>(params.columns), params.binary);
  check_rows("the validation rows", validation, static_cast<std::size_t>(params.columns), params.binary);
  if (std::all_of(train.labels, train.labels + train.rows, [&](float label) { return label == train.labels[0]; })) {
    throw EngineError("OPTION_INVALID", "Expected labels that differ for the training rows but received only " +
                                            std::to_string(train.labels[0]));
  }
  return Fitter(train, validation, params, abort).run(on_epoch);
}

}  // namespace winnow
