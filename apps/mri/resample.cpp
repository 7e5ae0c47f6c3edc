#include "apps/mri/resample.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "bilevel/core/context.hpp"
#include "bilevel/core/error.hpp"
#include "bilevel/ops/fourier_sampling.hpp"

namespace bilevel_app::mri {

using namespace bilevel;

namespace {

int wrapped(int k, int n) { return ((k % n) + n) % n; }

/// Frequencies -(n/2) ... (n-1)/2 of the smaller size.
int first_frequency(int n) { return -(n / 2); }

Complexes transform(std::span<const std::complex<double>> values, int count, int height, int width,
                    bool forward) {
  Context context(Device::open("cpu"));
  const Shape shape{count, 2, height, width};
  const FourierSampling<double> fourier(context, shape);
  const std::size_t pixels = static_cast<std::size_t>(height) * width;
  std::vector<double> planes(shape.count());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t at = i / pixels * 2 * pixels + i % pixels;
    planes[at] = values[i].real();
    planes[at + pixels] = values[i].imag();
  }
  const Tensor<double> in(context, shape, planes);
  Tensor<double> out(context, shape);
  {
    Frame frame(context);
    const ActiveSet all(context, frame, count);
    if (forward)
      fourier.apply(context, all.active(), in.view(), out.view());
    else
      fourier.adjoint(context, all.active(), in.view(), out.view());
  }
  planes = download(context, out);
  Complexes result(values.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::size_t at = i / pixels * 2 * pixels + i % pixels;
    result[i] = {planes[at], planes[at + pixels]};
  }
  return result;
}

/// Overlap of the output cells [k side/size, (k+1) side/size) with input pixels: (first, weights) per cell.
struct Cell {
  int first = 0;
  std::vector<double> weights;
};

std::vector<Cell> cells(int side, int size) {
  std::vector<Cell> out;
  const double length = static_cast<double>(side) / size;
  for (int k = 0; k < size; ++k) {
    const double begin = k * length, end = (k + 1) * length;
    Cell cell{static_cast<int>(begin), {}};
    for (int p = cell.first; p < std::min(side, static_cast<int>(std::ceil(end - 1e-9))); ++p)
      cell.weights.push_back((std::min(end, p + 1.0) - std::max(begin, static_cast<double>(p))) / length);
    out.push_back(std::move(cell));
  }
  return out;
}

}  // namespace

Square bounding_square(std::span<const double> image, int height, int width, double level, double margin,
                       int least) {
  int top = height, bottom = -1, left = width, right = -1;
  for (int i = 0; i < height; ++i)
    for (int j = 0; j < width; ++j)
      if (image[static_cast<std::size_t>(i) * width + j] > level) {
        top = std::min(top, i), bottom = std::max(bottom, i);
        left = std::min(left, j), right = std::max(right, j);
      }
  if (bottom < 0) top = left = 0, bottom = height - 1, right = width - 1;
  const int extent = std::max(bottom - top + 1, right - left + 1);
  const int side = std::max(least, static_cast<int>(std::ceil(extent * (1 + margin))));
  return {(top + bottom + 1 - side) / 2, (left + right + 1 - side) / 2, side};
}

template <class T>
std::vector<T> crop_image(std::span<const T> image, int height, int width, int to_height, int to_width) {
  if (to_height > height || to_width > width)
    throw ShapeError("an image of " + std::to_string(width) + " x " + std::to_string(height) +
                     " pixels cannot be cropped to " + std::to_string(to_width) + " x " +
                     std::to_string(to_height) + ".");
  const int row = (height - to_height) / 2, column = (width - to_width) / 2;
  std::vector<T> out;
  for (int i = 0; i < to_height; ++i) {
    const auto line =
        image.subspan(static_cast<std::size_t>(row + i) * width + column, static_cast<std::size_t>(to_width));
    out.insert(out.end(), line.begin(), line.end());
  }
  return out;
}
template std::vector<double> crop_image(std::span<const double>, int, int, int, int);
template Complexes crop_image(std::span<const std::complex<double>>, int, int, int, int);

std::vector<double> average_to(std::span<const double> image, int height, int width, const Square& square,
                               int size) {
  const std::vector<Cell> along = cells(square.side, size);
  std::vector<double> out(static_cast<std::size_t>(size) * size, 0.0);
  for (int i = 0; i < size; ++i)
    for (int j = 0; j < size; ++j) {
      const Cell &rows = along[static_cast<std::size_t>(i)], &columns = along[static_cast<std::size_t>(j)];
      double sum = 0;
      for (std::size_t a = 0; a < rows.weights.size(); ++a)
        for (std::size_t b = 0; b < columns.weights.size(); ++b) {
          const int p = square.row + rows.first + static_cast<int>(a);
          const int q = square.column + columns.first + static_cast<int>(b);
          if (p >= 0 && p < height && q >= 0 && q < width)
            sum += rows.weights[a] * columns.weights[b] * image[static_cast<std::size_t>(p) * width + q];
        }
      out[static_cast<std::size_t>(i) * size + j] = sum;
    }
  return out;
}

Complexes crop_kspace(std::span<const std::complex<double>> kspace, int height, int width, int to_height,
                      int to_width) {
  Complexes out(static_cast<std::size_t>(to_height) * to_width);
  for (int k = 0; k < to_height; ++k)
    for (int l = 0; l < to_width; ++l) {
      const int row = first_frequency(to_height) + k, column = first_frequency(to_width) + l;
      out[static_cast<std::size_t>(wrapped(row, to_height)) * to_width + wrapped(column, to_width)] =
          kspace[static_cast<std::size_t>(wrapped(row, height)) * width + wrapped(column, width)];
    }
  return out;
}

Complexes fourier(std::span<const std::complex<double>> images, int count, int height, int width) {
  return transform(images, count, height, width, true);
}
Complexes inverse_fourier(std::span<const std::complex<double>> kspace, int count, int height, int width) {
  return transform(kspace, count, height, width, false);
}

Complexes resample(std::span<const std::complex<double>> image, int height, int width, int to_height,
                   int to_width) {
  const int h = std::min(height, to_height), w = std::min(width, to_width);
  Complexes small(image.begin(), image.end());
  if (h != height || w != width)
    small = inverse_fourier(crop_kspace(fourier(image, 1, height, width), height, width, h, w), 1, h, w);
  if (h == to_height && w == to_width) return small;
  Complexes out(static_cast<std::size_t>(to_height) * to_width);
  const int row = to_height / 2 - h / 2, column = to_width / 2 - w / 2;
  for (int i = 0; i < h; ++i)
    for (int j = 0; j < w; ++j)
      out[static_cast<std::size_t>(row + i) * to_width + column + j] =
          small[static_cast<std::size_t>(i) * w + j];
  return out;
}

}  // namespace bilevel_app::mri
