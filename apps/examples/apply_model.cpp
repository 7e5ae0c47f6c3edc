// Denoises a picture with a learned model and prints a certified distance to the exact minimiser of the
// model's energy, which no computed image is. Run: apply_model MODEL.json NOISY.png OUTPUT.png

#include <bilevel/core/error.hpp>
#include <bilevel/io/image_file.hpp>
#include <bilevel/model/model_file.hpp>
#include <bilevel/solve/minimiser.hpp>
#include <cmath>
#include <cstdio>

using namespace bilevel;

int main(int argc, char** argv) try {
  if (argc != 4) return std::fprintf(stderr, "usage: apply_model MODEL.json NOISY.png OUTPUT.png\n"), 2;
  const DenoiseModel model = read_model(argv[1]);
  HostImage image = read_image(argv[2]);
  if (model.channels == 1) image = to_luma(image);

  Context context(Device::open("auto"));
  const Shape shape{1, image.channels, image.height, image.width};
  Tensor<double> noisy(context, shape, image.pixels), x(context, shape, image.pixels);
  auto energy = make_energy<double>(context, noisy.view(), model);

  const double pixels = static_cast<double>(shape.count());
  SolveRequest<double> request;
  request.tolerance = 1e-3 * std::sqrt(pixels);  // a quarter of a grey level in the root mean square
  SolveReport report = make_minimiser<double>("lbfgs")->minimise(context, *energy, request, x.view());

  image.pixels = download(context, x);
  write_image(argv[3], image);
  std::printf("%s: %s, root-mean-square distance to the minimiser at most %.2e\n", argv[3],
              status_name(report.status), report.certificate[0] / std::sqrt(pixels));
  return report.status == SolveStatus::converged ? 0 : 1;
} catch (const Error& error) {
  return std::fprintf(stderr, "apply_model: %s\n", error.what()), 1;
}
