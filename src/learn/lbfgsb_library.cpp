#include "learn/lbfgsb_library.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "bilevel/core/error.hpp"

// Of the library L-BFGS-B, under the name that the build gives it (cmake/BilevelMath.cmake).
extern "C" void bilevel_lbfgsb_setulb_(const int* n, const int* m, double* x, const double* lower,
                                       const double* upper, const int* bounded, double* f, double* g,
                                       const double* factr, const double* pgtol, double* wa, int* iwa,
                                       char* task, const int* print, char* csave, int* lsave, int* isave,
                                       double* dsave, std::size_t task_length, std::size_t csave_length);

namespace bilevel {
inline namespace v0 {
namespace {

constexpr std::size_t task_length = 60;

/// visit(array) for everything that the library keeps between calls.
template <class Self, class Visit>
void each_array(Self& work, Self& dsave, Self& x, Self& gradient, const Visit& visit) {
  for (Self* array : {&x, &gradient, &work, &dsave}) visit(*array);
}

}  // namespace

Lbfgsb::Lbfgsb(std::vector<double> lower, std::vector<double> upper, int memory, std::vector<double> reach)
    : lower_(std::move(lower)),
      upper_(std::move(upper)),
      reach_(std::move(reach)),
      near_lower_(lower_.size()),
      near_upper_(lower_.size()),
      memory_(memory),
      x_(lower_.size()),
      gradient_(lower_.size()),
      dsave_(29),
      bounded_(lower_.size(), 2),
      integers_(3 * lower_.size()),
      isave_(44),
      lsave_(4),
      task_(task_length, ' '),
      csave_(task_length, ' ') {
  const auto n = lower_.size(), m = static_cast<std::size_t>(memory);
  work_.resize((2 * m + 5) * n + 11 * m * m + 8 * m);
}

void Lbfgsb::follow() {
  for (std::size_t j = 0; j < x_.size(); ++j) {
    near_lower_[j] = std::max(lower_[j], x_[j] - reach_[j]);
    near_upper_[j] = std::min(upper_[j], x_[j] + reach_[j]);
  }
}

void Lbfgsb::start(std::span<const double> x) {
  x_.assign(x.begin(), x.end());
  follow();
  task_.assign(task_length, ' ');
  task_.replace(0, 5, "START");
  evaluations_ = 0;
  if (advance(0, gradient_) != LbfgsbTask::evaluate)
    throw ConfigError("L-BFGS-B cannot begin: " + text() + ".");
}

LbfgsbTask Lbfgsb::advance(double value, std::span<const double> gradient) {
  value_ = value;
  if (gradient.data() != gradient_.data()) gradient_.assign(gradient.begin(), gradient.end());
  const int n = static_cast<int>(x_.size()), silent = -1;
  const double none = 0;
  bilevel_lbfgsb_setulb_(&n, &memory_, x_.data(), near_lower_.data(), near_upper_.data(), bounded_.data(),
                         &value_, gradient_.data(), &none, &none, work_.data(), integers_.data(),
                         task_.data(), &silent, csave_.data(), lsave_.data(), isave_.data(), dsave_.data(),
                         task_length, task_length);
  if (task_.starts_with("FG")) {
    evaluations_ += 1;
    return LbfgsbTask::evaluate;
  }
  if (!task_.starts_with("NEW_X")) return LbfgsbTask::finished;
  evaluations_ = 0;
  follow();
  return LbfgsbTask::accepted;
}

std::string Lbfgsb::text() const { return task_.substr(0, task_.find_last_not_of(" \0") + 1); }

std::vector<std::uint8_t> Lbfgsb::save() const {
  std::vector<std::uint8_t> bytes;
  const auto append = [&](const auto& array) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(array.data());
    bytes.insert(bytes.end(), first, first + array.size() * sizeof(array[0]));
  };
  each_array(work_, dsave_, x_, gradient_, append);
  append(integers_);
  append(isave_);
  append(lsave_);
  append(task_);
  append(csave_);
  append(std::vector<double>{value_});
  return bytes;
}

void Lbfgsb::restore(std::span<const std::uint8_t> state) {
  std::size_t at = 0;
  const auto take = [&](auto& array) {
    const std::size_t size = array.size() * sizeof(array[0]);
    if (at + size > state.size())
      throw ShapeError("the saved state of L-BFGS-B is for another number of parameters.");
    std::memcpy(array.data(), state.data() + at, size);
    at += size;
  };
  each_array(work_, dsave_, x_, gradient_, take);
  take(integers_);
  take(isave_);
  take(lsave_);
  take(task_);
  take(csave_);
  std::vector<double> value(1);
  take(value);
  value_ = value[0];
  evaluations_ = 0;
  follow();
}

}  // namespace v0
}  // namespace bilevel
