#pragma once

#include <ostream>
#include <string>
#include <variant>

#include "apps/common/exit_codes.hpp"
#include "apps/common/interrupt.hpp"

namespace bilevel_app {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

/// Runs the command that is chosen, under a guard for signals; a text (help, version) is printed as it is.
/// `commands`: a function for each other alternative.
template <class... Chosen, class... F>
int dispatch(const std::variant<Chosen...>& chosen, std::ostream& out, F... commands) {
  const InterruptGuard guard;
  const auto print = [&out](const std::string& text) -> int {
    out << text;
    return exit_ok;
  };
  return std::visit(Overloaded{print, commands...}, chosen);
}

}  // namespace bilevel_app
