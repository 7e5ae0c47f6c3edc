// Classification: losses of scores and their derivatives, a sample per element. Words per score; what the
// batch shares is not counted.

#include "kernels/launch.hpp"
#include "kernels/math.hpp"
#include "kernels/scores_args.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {
namespace {

/// Scores of one image.
BILEVEL_HD inline std::size_t size_of(const ScoreShape& shape) {
  return static_cast<std::size_t>(shape.classes) * static_cast<std::size_t>(shape.samples);
}

/// The scores of one sample; those of its classes are `samples` apart. Beside a single one stands the score 0
/// of class 0. What is close to 1 is never subtracted from 1: small losses and slopes keep their digits.
template <class T>
struct Scores {
  const T* s;
  int classes, samples;
  T largest = T(0), rest = T(0);  // sum of e^{s_c - largest} over all but one that is largest
  int winner = 0;                 // that one; of a single score: class 1 or 0

  BILEVEL_HD Scores(const T* first, const ScoreShape& shape)
      : s(first), classes(shape.classes), samples(shape.samples) {
    if (classes == 1) {
      winner = s[0] > T(0) ? 1 : 0;
      largest = maximum(s[0], T(0));
      rest = std::exp(-std::fabs(s[0]));
      return;
    }
    largest = s[0];
    for (int c = 1; c < classes; ++c)
      if (s[offset(c)] > largest) {
        largest = s[offset(c)];
        winner = c;
      }
    for (int c = 0; c < classes; ++c)
      if (c != winner) rest += std::exp(s[offset(c)] - largest);
  }
  BILEVEL_HD long long offset(int c) const { return static_cast<long long>(c) * samples; }
  /// Of class 1 where there is a single score.
  BILEVEL_HD T probability(int c) const {
    const T sum = T(1) + rest;
    if (classes == 1) return (winner ? T(1) : rest) / sum;
    return (c == winner ? T(1) : std::exp(s[offset(c)] - largest)) / sum;
  }
  /// d loss / d s_c of the label, p_c - 1 = -(what the others have), or of a single score; others: p_c.
  BILEVEL_HD T label_slope(int label) const {
    const T sum = T(1) + rest;
    if (classes == 1) return label ? -(winner ? rest : T(1)) / sum : probability(0);
    if (label == winner) return -rest / sum;
    T others = T(1);
    for (int k = 0; k < classes; ++k)
      if (k != winner && k != label) others += std::exp(s[offset(k)] - largest);
    return -others / sum;
  }
  BILEVEL_HD bool own(int c, int label) const { return classes == 1 || c == label; }
  /// -ln of the probability of the label.
  BILEVEL_HD double loss(int label) const {
    const double score = classes > 1 ? double(s[offset(label)]) : label ? double(s[0]) : 0.0;
    return std::log1p(double(rest)) + (double(largest) - score);
  }
};

/// 1r 1w; an exp per score twice.
template <class T>
struct Gradient {
  static constexpr int sums = 1;
  static constexpr int scratch = 0, resident = 4, work = 16;
  ScoreGradientArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double* partial) const {
    const T* scores = image_of(a.scores, size_of(a.shape), t);
    T* out = image_of(a.out, size_of(a.shape), t);
    const ScoreGradientArgs<T>& args = a;
    block.reduce_elements<1>(
        t.column, t.columns,
        [=, &args](int j) -> Sums<1> {
          const Scores<T> sample(scores + j, args.shape);
          const int label = args.labels[j];
          const double weight = args.scale * (args.weight ? args.weight[j] : 1.0), loss = sample.loss(label);
          const T of_label = sample.label_slope(label);  // before any score is overwritten
          for (int c = 0; c < sample.classes; ++c)
            out[j + sample.offset(c)] =
                T(weight * double(sample.own(c, label) ? of_label : sample.probability(c)));
          return {{weight * loss}};
        },
        partial);
  }
  BILEVEL_HD void finish(int image, const double* total) const { a.value[image] = total[0]; }
};

/// 1r 1w; an exp per score twice.
template <class T>
struct Probability {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4, work = 16;
  ScoreProbabilityArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* scores = image_of(a.scores, size_of(a.shape), t);
    T* out = image_of(a.out, size_of(a.shape), t);
    const ScoreShape shape = a.shape;
    block.for_elements(t.column, t.columns, [=](int j) {
      const Scores<T> sample(scores + j, shape);
      for (int c = 0; c < sample.classes; ++c) out[j + sample.offset(c)] = sample.probability(c);
    });
  }
};

/// 2r 1w.
template <class T>
struct Product {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4, work = 2;
  ScoreProductArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* probability = image_of(a.probability, size_of(a.shape), t);
    const T* direction = image_of(a.m, size_of(a.shape), t);
    T* out = image_of(a.out, size_of(a.shape), t);
    const double *weights = a.weight, scale = a.scale;
    const int classes = a.shape.classes;
    const long long samples = a.shape.samples;
    block.for_elements(t.column, t.columns, [=](int j) {
      const T weight = T(scale * (weights ? weights[j] : 1.0));
      const T *p = probability + j, *m = direction + j;
      if (classes == 1) {
        out[j] = weight * (p[0] * (T(1) - p[0])) * m[0];
        return;
      }
      T mean = T(0);
      for (int c = 0; c < classes; ++c) mean += p[c * samples] * m[c * samples];
      for (int c = 0; c < classes; ++c)
        out[j + c * samples] = weight * (p[c * samples] * (m[c * samples] - mean));
    });
  }
};

/// 2r, a double w per sample.
template <class T>
struct Mixed {
  static constexpr int sums = 0;
  static constexpr int scratch = 0, resident = 4, work = 16;
  ScoreMixedArgs<T> a;

  BILEVEL_HD void operator()(Block& block, const Tile& t, double*) const {
    const T* scores = image_of(a.scores, size_of(a.shape), t);
    const T* direction = image_of(a.m, size_of(a.shape), t);
    const ScoreMixedArgs<T>& args = a;
    double* out = a.out + t.image;
    block.for_elements(t.column, t.columns, [=, &args](int j) {
      const Scores<T> sample(scores + j, args.shape);
      const int label = args.labels[j];
      const T of_label = sample.label_slope(label);
      double sum = 0;
      for (int c = 0; c < sample.classes; ++c)
        sum += double(sample.own(c, label) ? of_label : sample.probability(c)) *
               double(direction[j + sample.offset(c)]);
      out[static_cast<long long>(j) * args.n] = args.scale * sum;
    });
  }
};

template <class T, template <class> class Body, class Args>
void over_samples(const Stream& stream, const Args& a) {
  launch_elements(stream, a.shape.active, static_cast<std::size_t>(a.shape.samples), Body<T>{a});
}

}  // namespace

template <class T>
void fill_scores(Table<T>& table) {
  table.score_gradient = over_samples<T, Gradient, ScoreGradientArgs<T>>;
  table.score_probability = over_samples<T, Probability, ScoreProbabilityArgs<T>>;
  table.score_product = over_samples<T, Product, ScoreProductArgs<T>>;
  table.score_mixed = over_samples<T, Mixed, ScoreMixedArgs<T>>;
}
template void fill_scores(Table<float>&);
template void fill_scores(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
