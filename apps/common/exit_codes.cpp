#include "apps/common/exit_codes.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <new>
#include <ostream>
#include <stdexcept>
#include <system_error>

#include "bilevel/core/error.hpp"

namespace bilevel_app {
namespace {

constexpr const char* short_of_memory = "memory is exhausted; use fewer or smaller images.";

}  // namespace

std::string sentence(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; }, ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  if (!text.empty() && text.back() != '.') text += '.';
  return text;
}

int guarded(const std::string& program, std::ostream& out, std::ostream& err,
            const std::function<int()>& body) {
#ifdef SIGXFSZ
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file size limit becomes a failed write instead of the end of the process
#endif
  const auto fail = [&](const std::string& what, int code) {
    err << program << ": " << sentence(what) << '\n' << std::flush;
    return code;
  };
  try {
    const int code = body();
    out.flush();
    if (!out) return fail("the result cannot be written to the standard output.", exit_data);
    return code;
  } catch (const bilevel::ConfigError& error) {
    return fail(error.what(), exit_usage);
  } catch (const bilevel::IoError& error) {
    return fail(error.what(), exit_data);
  } catch (const bilevel::ShapeError& error) {
    return fail(error.what(), exit_data);
  } catch (const bilevel::DeviceError& error) {
    return fail(error.what(), exit_device);
  } catch (const std::bad_alloc&) {
    return fail(short_of_memory, exit_device);
  } catch (const std::length_error&) {  // of a container that memory cannot hold
    return fail(short_of_memory, exit_device);
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(error.path1().string() + ": " + error.code().message(), exit_data);
  } catch (const std::system_error& error) {
    return fail(std::string("the system refuses what is needed: ") + error.what(), exit_device);
  } catch (const std::exception& error) {
    return fail(error.what(), exit_numerical);
  }
}

}  // namespace bilevel_app
