#include "apps/common/regulariser_text.hpp"

#include <vector>

#include "apps/common/text.hpp"
#include "bilevel/model/catalogue.hpp"

namespace bilevel_app {

using namespace bilevel;

std::string quadratic_names() {
  std::vector<std::string> names;
  for (const CatalogueEntry& e : regulariser_catalogue())
    if (!e.smoothed()) names.push_back(e.name);
  std::string text;
  for (std::size_t k = 0; k < names.size(); ++k)
    text += (k == 0 ? "" : k + 1 < names.size() ? ", " : " and ") + names[k];
  return text;
}

std::string first_weights() {
  std::string usual, others;
  for (const CatalogueEntry& e : regulariser_catalogue()) {
    const Parameters parameters = regulariser_parameters(e.options);
    for (const Segment& s : parameters.segments()) {
      if (s.name != "alpha") continue;
      const std::string value = format("%g", s.initial);
      if (usual.empty()) usual = value;
      if (value != usual) others += (others.empty() ? "" : ", ") + std::string(e.name) + " " + value;
    }
  }
  return "alpha=" + usual + (others.empty() ? "" : " (" + others + ")");
}

}  // namespace bilevel_app
