#pragma once

#include "kernels/block.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

struct LaunchScope {
  [[gnu::always_inline]] explicit LaunchScope(const Stream& s) : stream(s) { stream.enter(stream.owner); }
  [[gnu::always_inline]] ~LaunchScope() { stream.leave(stream.owner, ""); }
  const Stream& stream;
};

/// Below this many elements a launch runs on the calling thread.
inline constexpr long long serial_elements = 16384;

/// visit(begin, end) over parts of [0, jobs) on all threads.
template <class F>
void for_range(const Stream& stream, std::int64_t jobs, F& visit) {
  stream.parallel(
      stream.owner, jobs,
      [](void* f, std::int64_t begin, std::int64_t end) { (*static_cast<F*>(f))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&visit)));
}

template <class Body>
void launch_grid(const Stream& stream, const Active& active, int height, int width, int tile_rows,
                 int tile_columns, const Body& body, int planes = 1) {
  constexpr int K = Body::sums;
  if constexpr (requires { Body::scratch; }) static_assert(Body::scratch <= HostBlock::scratch_bytes);
  const long long across = (width + tile_columns - 1) / tile_columns;
  const long long tiles = (height + tile_rows - 1) / tile_rows * across;
  const long long jobs = tiles * planes * active.count;
  const LaunchScope scope(stream);
  double* partials = K > 0 ? stream.partials(static_cast<std::size_t>(jobs) * K, 0).sums : nullptr;
  const auto visit = [&](std::int64_t begin, std::int64_t end) {
    alignas(64) unsigned char scratch[HostBlock::scratch_bytes];
    for (std::int64_t job = begin; job < end; ++job) {
      const int image = active.index[job / tiles / planes];
      if (!active.mask[image]) continue;
      const int row = static_cast<int>(job % tiles / across) * tile_rows;
      const int column = static_cast<int>(job % tiles % across) * tile_columns;
      const Tile tile{image,
                      row,
                      column,
                      minimum(height - row, tile_rows),
                      minimum(width - column, tile_columns),
                      static_cast<int>(job / tiles % planes)};
      HostBlock block(scratch);
      double partial[K > 0 ? K : 1] = {};
      body(block, tile, partial);
      for (int k = 0; k < K; ++k) partials[job * K + k] = partial[k];
    }
  };
  if (static_cast<long long>(height) * width * active.count * planes * work < Body >> serial_elements)
    for_range(stream, jobs, visit);
  else
    visit(0, jobs);
  if constexpr (K > 0) {
    for (int slot = 0; slot < active.count; ++slot) {
      const int image = active.index[slot];
      if (!active.mask[image]) continue;
      const double* p = partials + slot * planes * tiles * K;
      for (int plane = 0; plane < planes; ++plane) {
        double total[K] = {};
        for (long long t = 0; t < tiles; ++t, p += K)
          for (int k = 0; k < K; ++k)
            total[k] = k < K - maxima<Body> ? total[k] + p[k] : maximum(total[k], p[k]);
        finish_plane(body, image, plane, total);
      }
    }
  }
}

template <class F>
void launch_images(const Stream& stream, const Active& active, const F& f) {
  const LaunchScope scope(stream);
  for (int slot = 0; slot < active.count; ++slot) {
    const int image = active.index[slot];
    if (active.mask[image]) f(image);
  }
}

template <class Body>
void launch_batch(const Stream& stream, const Body& body) {
  const LaunchScope scope(stream);
  alignas(64) unsigned char scratch[1024];
  static_assert(Body::scratch <= sizeof(scratch));
  HostBlock block(scratch);
  body(block);
}

template <class F>
void launch_range(const Stream& stream, std::size_t size, const F& f) {
  const LaunchScope scope(stream);
  const auto visit = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t e = begin; e < end; ++e) f(static_cast<std::size_t>(e));
  };
  const auto jobs = static_cast<std::int64_t>(size);
  if (jobs > serial_elements)
    for_range(stream, jobs, visit);
  else
    visit(0, jobs);
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
