#include "apps/mri/rate_search.hpp"

#include <cmath>

namespace bilevel_app::mri {

namespace {

constexpr double widening = 4;  // factor of the penalty until both sides of the target are known

}  // namespace

int RateSearch::nearest(bool above) const {
  int found = -1;
  for (int k = 0; k < static_cast<int>(trials_.size()); ++k) {
    const Trial& t = trials_[static_cast<std::size_t>(k)];
    if ((t.rate > target_) != above) continue;
    const double other = found < 0 ? 0 : trials_[static_cast<std::size_t>(found)].penalty;
    if (found < 0 || (above ? t.penalty > other : t.penalty < other)) found = k;
  }
  return found;
}

int RateSearch::next_start() const { return nearest(true); }

double RateSearch::next_penalty() const {
  const int dense = nearest(true), sparse = nearest(false);
  if (dense < 0 && sparse < 0) return first_;
  const auto penalty = [this](int k) { return trials_[static_cast<std::size_t>(k)].penalty; };
  if (sparse < 0) return penalty(dense) * widening;
  if (dense < 0) return penalty(sparse) / widening;
  return std::sqrt(penalty(dense) * penalty(sparse));
}

void RateSearch::add(double rate) { trials_.push_back({next_penalty(), rate}); }

int RateSearch::best() const {
  int best = -1;
  for (int k = 0; k < static_cast<int>(trials_.size()); ++k) {
    const double rate = trials_[static_cast<std::size_t>(k)].rate;
    const double other = best < 0 ? 0 : trials_[static_cast<std::size_t>(best)].rate;
    const double distance = std::abs(rate - target_), least = std::abs(other - target_);
    if (best < 0 || distance < least || (distance == least && rate > other)) best = k;
  }
  return best;
}

bool RateSearch::done() const {
  if (static_cast<int>(trials_.size()) >= runs_) return true;
  return !trials_.empty() && std::abs(trials_.back().rate - target_) <= tolerance_ * target_;
}

}  // namespace bilevel_app::mri
