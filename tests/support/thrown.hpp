#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <string>

namespace bilevel::testing_support {

/// The sentence of the E that `call` throws; a failure when it throws nothing or something else.
template <class E, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return {};
  }
  ADD_FAILURE() << "no exception";
  return {};
}

}  // namespace bilevel::testing_support
