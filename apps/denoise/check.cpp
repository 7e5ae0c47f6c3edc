#include <optional>
#include <ostream>

#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"
#include "apps/common/reference_option.hpp"
#include "apps/denoise/checks.hpp"
#include "apps/denoise/deblurring.hpp"
#include "apps/denoise/options.hpp"
#include "apps/denoise/regulariser.hpp"

namespace bilevel_app::denoise {

using namespace bilevel;

namespace {

struct Subject {
  Parameters parameters;
  RegulariserSum options;
  std::optional<BlurKernel> blur;
  int channels;
};

/// The model of --model or of --model-type. Of a file, all that can be learned is checked, learned or not.
Subject subject(const CheckOptions& o) {
  if (o.model.empty())
    return {o.untrained.parameters(o.data.seed), o.untrained.regularisers(), o.data.blur, o.data.channels};
  const DenoiseModel model = read_model(o.model);
  require_no_mask(model.options, o.data.mask);
  require_reference(model.options, o.data.reference);
  require_deblurs(model, o.data.mask, o.common.precision, "auto");
  require_large_enough(model, o.data.crop, o.data.crop, o.model);
  std::vector<Segment> segments = model.parameters;
  for (Segment& s : segments)
    s.learned = !s.shape.empty() || (s.name != "mu" && s.initial > 0 && s.lower > 0);
  return {Parameters(segments), model.options, model.blur, model.channels};
}

}  // namespace

int check(const CheckOptions& o, std::ostream& out, std::ostream& err) {
  const Device device = open_device(o.common, "bilevel-denoise", err);
  Subject of = subject(o);
  DataOptions data = o.data;
  data.blur = of.blur;
  data.channels = of.channels;
  const ImageBatch batch = load_crops(data);
  of.options = with_reference(of.options, batch.reference);
  if (!o.common.quiet)
    for (const std::string& text : batch.notes) err << "bilevel-denoise: " << sentence(text) << '\n';
  Context context(device);
  EnergyMaker make;
  if (of.blur)
    make = [&of](Context& c, View<const double> noisy) {
      return make_energy<double>(c, noisy, of.parameters, of.options, *of.blur);
    };
  const Findings found = run_checks(context, batch, of.parameters, of.options, o.common.seed, make);
  if (interrupted()) {
    err << "bilevel-denoise: interrupted; nothing was written.\n";
    return exit_interrupted;
  }
  return report_checks(found, batch, o.common, out, err);
}

}  // namespace bilevel_app::denoise
