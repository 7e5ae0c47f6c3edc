#pragma once

#include <string>
#include <vector>

#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/random.hpp"

namespace bilevel::oracle {

struct NamedModel {
  std::string name;
  TvModel model;
};

/// One model of every kind (isotropy, dimension, potential, mask, place of xi) with height x width pixels;
/// 1-D kinds have 1 x width.
inline std::vector<NamedModel> model_collection(int height, int width, testing_support::Random& random) {
  TvModel base;
  base.height = height;
  base.width = width;
  base.alpha = random.log_uniform(0.05, 0.5);
  base.nu = random.log_uniform(0.03, 0.3);
  base.xi = random.log_uniform(1e-3, 1e-1);
  std::vector<NamedModel> models;
  for (const bool huber : {false, true}) {
    TvModel model = base;
    model.potential = huber ? Potential::huber_c2 : Potential::charbonnier;
    const std::string potential = huber ? " huber_c2" : " charbonnier";
    models.push_back({"isotropic" + potential, model});
    model.xi_inside_alpha = true;
    models.push_back({"isotropic, xi inside alpha," + potential, model});
    model.xi_inside_alpha = false;
    model.isotropic = false;
    models.push_back({"anisotropic" + potential, model});
    model.mask = testing_support::random_mask(height, width, 0.6, random);
    models.push_back({"anisotropic, masked," + potential, model});
    model.height = 1;
    model.mask.clear();
    models.push_back({"1-D" + potential, model});
    model.mask = testing_support::random_mask(1, width, 0.6, random);
    models.push_back({"1-D, masked," + potential, model});
  }
  return models;
}

/// Second differences (and on a line), H1 and Tikhonov.
inline std::vector<NamedModel> further_models(int height, int width, testing_support::Random& random) {
  TvModel base;
  base.height = height;
  base.width = width;
  base.alpha = random.log_uniform(0.02, 0.2);
  base.nu = random.log_uniform(0.03, 0.3);
  base.xi = random.log_uniform(1e-3, 1e-1);
  std::vector<NamedModel> models;
  for (const Potential potential : {Potential::charbonnier, Potential::huber_c2}) {
    TvModel model = base;
    model.differences = Differences::second;
    model.potential = potential;
    models.push_back({potential == Potential::huber_c2 ? "second, huber_c2" : "second, charbonnier", model});
    model.xi_inside_alpha = true;
    model.mask = testing_support::random_mask(height, width, 0.6, random);
    models.push_back({"second, xi inside alpha, masked", model});
    model.height = 1;
    model.mask.clear();
    models.push_back({"second, 1-D", model});
  }
  TvModel quadratic = base;
  quadratic.potential = Potential::quadratic;
  models.push_back({"h1", quadratic});
  quadratic.mask = testing_support::random_mask(height, width, 0.6, random);
  models.push_back({"h1, masked", quadratic});
  quadratic.differences = Differences::none;
  models.push_back({"tikhonov, masked", quadratic});
  quadratic.mask.clear();
  quadratic.xi_inside_alpha = true;
  models.push_back({"tikhonov, xi inside alpha", quadratic});
  return models;
}

}  // namespace bilevel::oracle
