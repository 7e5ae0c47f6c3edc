#include "apps/mri/greedy.hpp"

#include <chrono>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/common/interrupt.hpp"
#include "apps/common/text.hpp"
#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/learn/baseline_patterns.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::mri {

using namespace bilevel;
using Json = nlohmann::ordered_json;

namespace {

Parameters learned_pattern(const MriModel& m) { return m.parameters(m.pattern(), {}, true, false); }
std::string minimiser_name(const Solver& s) {
  return in_precision(s.minimiser, s.precision == "float" ? "double" : s.precision);
}

Json identity_json(const TrainingRun& run) {
  Json json = Json::object();
  for (const auto& [name, value] : run.identity()) json[name] = option_text(value);
  return json;
}

/// What an interrupted run has chosen; nothing when the file is missing or of another run.
GreedySelection load(const std::filesystem::path& path, const Json& identity, std::size_t groups) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const Json json = Json::parse(text, nullptr, false);
  try {
    if (!json.is_object() || json.at("identity") != identity) return {};
    GreedySelection s;
    s.order = json.at("order").get<std::vector<int>>();
    for (const int g : s.order)
      if (g < 0 || static_cast<std::size_t>(g) >= groups) return {};
    const auto work = json.at("work").get<std::vector<std::uint64_t>>();
    s.work = {work.at(0), work.at(1), work.at(2), work.at(3)};
    s.seconds = json.at("seconds").get<double>();
    return s;
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace

CandidateReconstruction::CandidateReconstruction(const Device& device, const MriData& data,
                                                 const MriModel& model, const Solver& solver)
    : data_(data),
      context_(device),
      groups_(model.pattern().groups()),
      energy_(make_energy<double>(context_, data_, model.pattern(), learned_pattern(model), model.regulariser,
                                  solver.precision == "mixed")),
      minimiser_(make_minimiser<double>(minimiser_name(solver))),
      current_(context_, energy_->shape()),
      trial_(context_, energy_->shape()) {
  request_.tolerance = solver.tolerance * std::sqrt(static_cast<double>(data_.pixels()));
  request_.decided = [](Context&, View<const double>, std::span<const double>) { return interrupted(); };
  fill<double>(context_, current_.view(), 0.0);
}

double CandidateReconstruction::loss(std::span<const int> set, Work& work) {
  energy_->bind(groups_listed(groups_, set));
  copy<double>(context_, std::as_const(current_).view(), trial_.view());
  const SolveReport report = minimiser_->minimise(context_, *energy_, request_, trial_.view());
  if (report.status == SolveStatus::failed) throw Error("a reconstruction failed: " + report.message);
  work += report.work;
  work.solves += 1;
  const std::vector<double> u = download<double>(context_, trial_);  // the images in its first channels
  const std::size_t each = data_.shape().image(), unknown = energy_->shape().image();
  double sum = 0;
  for (std::size_t i = 0; i < data_.truth.size(); ++i)
    sum += std::pow(u[i / each * unknown + i % each] - data_.truth[i], 2);
  return sum / (static_cast<double>(data_.pixels()) * data_.images);
}

std::vector<double> CandidateReconstruction::losses(std::span<const int> chosen,
                                                    std::span<const int> candidates, Work& work) {
  std::vector<int> set(chosen.begin(), chosen.end());
  std::vector<double> out;
  for (const int candidate : candidates) {
    set.push_back(candidate);
    out.push_back(loss(set, work));
    set.pop_back();
    if (interrupted()) return {};
  }
  return out;
}

void CandidateReconstruction::advance(std::span<const int> chosen, Work& work) {
  static_cast<void>(loss(chosen, work));
  std::swap(current_, trial_);
}

GreedySelection select_greedily(TrainingRun& run, const MriModel& model, std::size_t count, bool resume,
                                const std::function<void(const std::string&)>& progress) {
  const std::filesystem::path file = run.folder() / "checkpoint" / "selection.json";
  const Json identity = identity_json(run);
  const std::size_t groups = model.pattern().groups();
  GreedySelection s;
  if (resume) s = load(file, identity, groups);
  const auto start = std::chrono::steady_clock::now();
  const double seconds = s.seconds;
  CandidateReconstruction reconstruction(run.device(), run.data(), model, run.solver());
  // A set's reconstruction comes from that of the set before, also in a resumed run.
  Work repeated;
  for (std::size_t t = 1; t <= s.order.size(); ++t)
    reconstruction.advance(std::span(s.order).first(t), repeated);
  const auto losses = [&](std::span<const int> chosen, std::span<const int> candidates) {
    return reconstruction.losses(chosen, candidates, s.work);
  };
  const auto added = [&](std::span<const int> order) {
    reconstruction.advance(order, s.work);
    if (interrupted()) return false;
    s.order.assign(order.begin(), order.end());
    s.seconds = seconds + std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const Json json{{"identity", identity},
                    {"order", s.order},
                    {"work", {s.work.gradients, s.work.hessian_products, s.work.other, s.work.solves}},
                    {"seconds", s.seconds}};
    write_file_atomically(file, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    const double left =
        s.seconds / static_cast<double>(order.size()) * static_cast<double>(count - order.size());
    progress(format("greedy: %zu of %zu groups, %llu solves, %.1f s, at most %.1f s left", order.size(),
                    count, static_cast<unsigned long long>(s.work.solves), s.seconds, left));
    return true;
  };
  static_cast<void>(greedy_groups(groups, count, s.order, losses, added));
  s.interrupted = s.order.size() < count;
  return s;
}

}  // namespace bilevel_app::mri
