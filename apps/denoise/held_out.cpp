#include "apps/denoise/held_out.hpp"

#include <cmath>
#include <ostream>

#include "apps/common/interrupt.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/common/text.hpp"
#include "apps/denoise/regulariser.hpp"
#include "bilevel/model/unknown.hpp"
#include "bilevel/solve/minimiser.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

constexpr double rms_tolerance = 1e-3;  // as apply and evaluate

ImageBatch load(const TrainOptions& o) {
  DataOptions data = o.data;
  data.data = o.test_data;
  data.images = static_cast<int>(list_sources(o.test_data).size());
  data.seed = o.data.seed + 1;
  return load_crops(data);
}

}  // namespace

HeldOut::HeldOut(const TrainOptions& options, const Device& device, const Parameters& parameters,
                 std::ostream& err)
    : options_(options), device_(device), parameters_(parameters), err_(err), batch_(load(options)) {}

double HeldOut::psnr(const IterationRecord& record, bool finished) {
  if (!finished && record.iteration % options_.test_every != 0) return std::nan("");
  const std::optional<Quality> quality =
      options_.common.precision == "float" ? measure<float>(record.theta) : measure<double>(record.theta);
  if (finished) last_ = quality;
  if (!quality) return std::nan("");
  if (options_.common.verbose)
    err_ << format("iteration %d  test PSNR %.3f dB\n", record.iteration, quality->psnr) << std::flush;
  return quality->psnr;
}

template <class T>
std::optional<Quality> HeldOut::measure(const std::vector<double>& theta) const {
  Context context(device_);
  const Shape shape = batch_.shape();
  const std::vector<T> values(batch_.noisy.begin(), batch_.noisy.end());
  const Tensor<T> noisy(context, shape, values);
  const RegulariserSum regularisers = with_reference(options_.model.regularisers(), batch_.reference);
  const auto& blur = options_.data.blur;
  const auto energy = blur ? make_energy<T>(context, noisy.view(), parameters_, regularisers, *blur)
                           : make_energy<T>(context, noisy.view(), parameters_, regularisers, batch_.mask,
                                            options_.common.precision == "mixed");
  energy->bind(theta);
  Tensor<T> x = start_from<T>(context, noisy.view(), energy->shape());
  SolveRequest<T> request;
  request.tolerance = rms_tolerance * std::sqrt(static_cast<double>(shape.image()));
  request.decided = [](Context&, View<const T>, std::span<const double>) { return interrupted(); };
  const SolveReport report =
      make_minimiser<T>(options_.upper.minimiser)->minimise(context, *energy, request, x.view());
  if (report.status != SolveStatus::converged) return {};
  const std::vector<T> result = download<T>(context, first_channels<T>(context, x.view(), shape.c));
  return measure_quality(batch_, {result.begin(), result.end()});
}

}  // namespace bilevel_app::denoise
